-- The same features as ours, and no limits; plain streams allowed
run_as_root = true
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = { }
network_backend = "epoll"
network_settings = { tcp_backlog = 4096$network }
$collection
modules_enabled = {
  "disco"; "roster"; "saslauth"; "tls"; "carbons"; "csi_simple"; "ping"; "register"; $further
}
modules_disabled = { "s2s"; "limits" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
allow_registration = true
authentication = "internal_hashed"
storage = { $archive_storage } -- what is not named here: internal
sql = { driver = "SQLite3"; database = "$folder/data/archive.sqlite" }
archive_expires_after = "1w"
default_archive_policy = true
c2s_timeout = 300
log = { warn = "$folder/prosody.log" }
ssl = { key = "$certificate"; certificate = "$certificate" }
VirtualHost "localhost"
