CREATE TABLE schema_version (
	module VARCHAR(250) NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (module)
);

CREATE TABLE users (
	username VARCHAR(250) NOT NULL, 
	server VARCHAR(250) NOT NULL, 
	password TEXT NOT NULL, 
	pass_details TEXT, 
	created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (username, server)
);

CREATE TABLE module_map (
	module VARCHAR(250) NOT NULL, 
	store VARCHAR(250) NOT NULL, 
	host VARCHAR(250) NOT NULL, 
	owner VARCHAR(3071) NOT NULL, 
	name VARCHAR(250) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (module, store, host, owner, name)
);

CREATE TABLE last (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	seconds INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	PRIMARY KEY (server, username)
);

CREATE INDEX i_last_server_seconds ON last (server, seconds);

CREATE TABLE offline_message (
	id SERIAL NOT NULL, 
	timestamp BIGINT NOT NULL, 
	expire BIGINT, 
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	from_jid VARCHAR(250) NOT NULL, 
	packet TEXT NOT NULL, 
	permanent_fields BYTEA, 
	PRIMARY KEY (id)
);

CREATE INDEX i_offline_message ON offline_message (server, username, id);

CREATE TABLE rosterusers (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	jid VARCHAR(3071) NOT NULL, 
	nick TEXT NOT NULL, 
	subscription VARCHAR(1) NOT NULL, 
	ask VARCHAR(1) NOT NULL, 
	askmessage TEXT NOT NULL, 
	approved BOOLEAN DEFAULT false NOT NULL, 
	listed BOOLEAN NOT NULL, 
	created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT now() NOT NULL, 
	PRIMARY KEY (server, username, jid)
);

CREATE TABLE rostergroups (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	jid VARCHAR(3071) NOT NULL, 
	grp VARCHAR(1023) NOT NULL, 
	PRIMARY KEY (server, username, jid, grp)
);
