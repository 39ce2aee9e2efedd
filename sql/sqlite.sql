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
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
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

CREATE TABLE domain_settings (
	domain VARCHAR(250) NOT NULL, 
	host_type VARCHAR(250) NOT NULL, 
	status SMALLINT DEFAULT '1' NOT NULL, 
	PRIMARY KEY (domain)
);

CREATE TABLE message_log (
	id INTEGER NOT NULL, 
	sender BIGINT NOT NULL, 
	recipient BIGINT NOT NULL, 
	flags SMALLINT NOT NULL, 
	holder BIGINT, 
	stanza TEXT NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE message_archive (
	owner BIGINT NOT NULL, 
	id BIGINT NOT NULL, 
	remote BIGINT NOT NULL, 
	PRIMARY KEY (owner, id)
)
 WITHOUT ROWID;

CREATE TABLE message_pending (
	owner BIGINT NOT NULL, 
	id BIGINT NOT NULL, 
	holder BIGINT, 
	expire BIGINT, 
	PRIMARY KEY (owner, id)
)
 WITHOUT ROWID;

CREATE TABLE message_position (
	node SMALLINT NOT NULL, 
	kind SMALLINT NOT NULL, 
	id BIGINT NOT NULL, 
	PRIMARY KEY (node, kind, id)
);

CREATE TABLE message_owner (
	owner BIGINT NOT NULL, 
	jid VARCHAR(3071) NOT NULL, 
	PRIMARY KEY (owner)
);

CREATE TABLE message_log_secret (
	one SMALLINT NOT NULL, 
	value BLOB NOT NULL, 
	PRIMARY KEY (one)
);

CREATE TABLE discovery_nodes (
	node_name VARCHAR(250) NOT NULL, 
	cluster_name VARCHAR(250) NOT NULL, 
	node_num INTEGER NOT NULL, 
	address VARCHAR(250) DEFAULT '' NOT NULL, 
	updated_timestamp BIGINT NOT NULL, 
	incarnation BIGINT NOT NULL, 
	PRIMARY KEY (node_name), 
	CONSTRAINT i_discovery_nodes_node_num UNIQUE (cluster_name, node_num)
);

CREATE TABLE last (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	seconds INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	PRIMARY KEY (server, username)
);

CREATE INDEX i_last_server_seconds ON last (server, seconds);

CREATE TABLE mam_config (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	remote_jid VARCHAR(3071) NOT NULL, 
	behaviour VARCHAR(1) NOT NULL, 
	PRIMARY KEY (server, username, remote_jid)
);

CREATE TABLE mam_retention (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	max_age INTEGER, 
	max_messages INTEGER, 
	PRIMARY KEY (server, username)
);

CREATE TABLE privacy_default_list (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	name TEXT NOT NULL, 
	PRIMARY KEY (server, username)
);

CREATE TABLE privacy_list (
	id INTEGER NOT NULL, 
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	name TEXT NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (server, username, name)
);

CREATE TABLE privacy_list_data (
	id INTEGER NOT NULL, 
	ord BIGINT NOT NULL, 
	t VARCHAR(1) NOT NULL, 
	value TEXT NOT NULL, 
	action VARCHAR(1) NOT NULL, 
	match_all BOOLEAN NOT NULL, 
	match_iq BOOLEAN NOT NULL, 
	match_message BOOLEAN NOT NULL, 
	match_presence_in BOOLEAN NOT NULL, 
	match_presence_out BOOLEAN NOT NULL, 
	PRIMARY KEY (id, ord), 
	FOREIGN KEY(id) REFERENCES privacy_list (id) ON DELETE CASCADE
);

CREATE TABLE rosterusers (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	jid VARCHAR(3071) NOT NULL, 
	nick TEXT NOT NULL, 
	subscription VARCHAR(1) NOT NULL, 
	ask VARCHAR(1) NOT NULL, 
	askmessage TEXT NOT NULL, 
	approved BOOLEAN DEFAULT 0 NOT NULL, 
	listed BOOLEAN NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (server, username, jid)
);

CREATE TABLE rostergroups (
	server VARCHAR(250) NOT NULL, 
	username VARCHAR(250) NOT NULL, 
	jid VARCHAR(3071) NOT NULL, 
	grp VARCHAR(1023) NOT NULL, 
	PRIMARY KEY (server, username, jid, grp)
);

CREATE VIRTUAL TABLE mam_text USING fts5(owners, body, tokenize='unicode61');
