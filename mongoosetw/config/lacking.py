"""What MongooseIM's configuration has and ours has not (yet).

An operator who brings a ``mongooseim.toml`` is told so, rather than of a misspelt name.
"""

from collections.abc import Collection

_GENERAL = (
    "all_metrics_are_global cowboy_server_name http_server_name instrumentation "
    "max_fsm_queue mongooseimctl_access_commands override rdbms_server_type "
    "replaced_wait_timeout route_subdomains routing_modules s2s_backend "
    "component_backend domain_certfile outgoing_pools pgsql_users_number_estimate"
)
_LISTENERS = "backlog hibernate_after ip_version num_acceptors proto proxy_protocol reuse_port"
_TLS = (
    "dhfile early_data keep_secrets protocol_options "
    "server_name_indication session_tickets"
)
_AUTH = "external http jwt ldap rdbms"
_HANDLERS = (
    "cowboy_swagger_redirect_handler lasse_handler mongoose_admin_api mongoose_bosh_handler "
    "mongoose_client_api mongoose_domain_handler mongoose_graphql_handler "
    "mongoose_websocket_handler"
)
_POOLS = "cassandra elastic http ldap rabbit riak"
_POOL_OPTIONS = (
    "call_timeout keepalive_interval max_start_interval max_worker_queue_len scope settings "
    "strategy tls connection.keepalive_interval connection.max_start_interval "
    "connection.settings connection.tls"
)
_REDIS_OPTIONS = "max_worker_queue_len scope strategy workers tls.ciphers tls.versions"
_MODULES = (
    "mod_adhoc mod_amp mod_auth_token mod_bind2 mod_blocking mod_blocklist mod_bosh mod_broadcast "
    "mod_cache_users mod_caps mod_carboncopy mod_csi mod_disco mod_domain_isolation "
    "mod_event_pusher mod_extdisco mod_external_filter mod_fast_auth_token mod_global_distrib "
    "mod_http_upload mod_inbox mod_jingle_sip mod_keystore mod_last mod_mam mod_muc mod_muc_light "
    "mod_muc_log mod_offline mod_offline_chatmarkers mod_offline_stub mod_ping mod_presence "
    "mod_privacy mod_private mod_pubsub mod_push_service_mongoosepush mod_register mod_roster "
    "mod_sasl2 mod_shared_roster_ldap mod_sic mod_smart_markers mod_stanzaid "
    "mod_stream_management mod_time mod_token_service mod_vcard mod_version"
)
_MODULE_OPTIONS = {
    "mod_adhoc": "iqdisc report_commands_node",
    "mod_auth_token": "backend iqdisc validity_period",
    "mod_blocking": "backend=mnesia",
    "mod_caps": "backend versions iq_response_timeout",
    "mod_carboncopy": "iqdisc",
    "mod_disco": "iqdisc",
    "mod_event_pusher": "http push rabbit sns",
    "mod_extdisco": "iqdisc service",
    "mod_fast_auth_token": "backend validity_period",
    "mod_http_upload": "iqdisc host backend expiration_time token_bytes max_file_size s3",
    "mod_inbox": (
        "backend async_writer boxes bin_ttl bin_clean_after delete_domain_limit reset_markers "
        "groupchat aff_changes remove_on_kicked iqdisc max_result_limit"
    ),
    "mod_last": "iqdisc backend=mnesia",
    "mod_mam": (
        "backend=cassandra backend=elasticsearch no_stanzaid_element is_archivable_message "
        "send_message message_retraction full_text_search user_prefs_store delete_domain_limit "
        "cache_users cache async_writer db_jid_format db_message_format extra_fin_element "
        "extra_lookup_params muc pm.same_mam_id_for_peers pm.async_writer pm.db_jid_format "
        "pm.db_message_format pm.user_prefs_store"
    ),
    "mod_offline": "backend=mnesia",
    "mod_ping": "iqdisc",
    "mod_privacy": "backend=mnesia",
    "mod_private": "iqdisc backend",
    "mod_register": "iqdisc",
    "mod_roster": "iqdisc backend=mnesia",
    "mod_smart_markers": "iqdisc backend keep_private async_writer",
    "mod_stream_management": "backend backend=mnesia backend=cets",
    "mod_time": "iqdisc",
    "mod_vcard": "iqdisc host search backend matches ldap",
    "mod_version": "iqdisc",
}
"""Of modules that there are, or soon may be."""

MONGOOSEIM_ONLY = frozenset(
    {
        "s2s",
        "services",
        "instrumentation",
        "internal_databases",
        "listen.s2s",
        "listen.component",
        "listen.service",
        "listen.http.tls",
        "listen.http.transport",
        "listen.http.protocol",
        "listen.http.handlers.mongoose_prometheus_handler.registry",
        "host_config.general",
        "host_config.s2s",
        "host_config.outgoing_pools",
        "auth.users_number_estimate",
        "auth.backend",
        "auth.anonymous.backend",
        "auth.sasl_mechanisms=digest",
        "auth.sasl_mechanisms=oauth",
        "auth.sasl_mechanisms=scram_sha224",
        "auth.sasl_mechanisms=scram_sha224_plus",
        "auth.sasl_mechanisms=scram_sha384",
        "auth.sasl_mechanisms=scram_sha384_plus",
        "auth.sasl_external=auth_id",
        "auth.password.hash=sha224",
        "auth.password.hash=sha384",
        "outgoing_pools.rdbms.default.driver=mysql",
        "outgoing_pools.rdbms.default.driver=cockroachdb",
        "outgoing_pools.rdbms.default.connection.driver=mysql",
        "outgoing_pools.rdbms.default.connection.driver=cockroachdb",
        "listen.c2s.tls.versions=tlsv1",
        "listen.c2s.tls.versions=tlsv1.1",
        *(f"general.{name}" for name in _GENERAL.split()),
        *(f"listen.{kind}.{name}" for kind in ("c2s", "http") for name in _LISTENERS.split()),
        *(f"listen.c2s.tls.{name}" for name in _TLS.split()),
        *(f"listen.http.handlers.{name}" for name in _HANDLERS.split()),
        *(f"auth.{name}" for name in _AUTH.split()),
        *(f"auth.methods={name}" for name in _AUTH.split()),
        *(f"listen.c2s.allowed_auth_methods={name}" for name in _AUTH.split()),
        *(f"outgoing_pools.{name}" for name in _POOLS.split()),
        *(f"outgoing_pools.rdbms.default.{name}" for name in _POOL_OPTIONS.split()),
        *(f"outgoing_pools.redis.default.{name}" for name in _REDIS_OPTIONS.split()),
        *(f"modules.{name}" for name in _MODULES.split()),
        *(
            f"modules.{module}.{name}"
            for module, names in _MODULE_OPTIONS.items()
            for name in names.split()
        ),
    }
)
"""Dotted paths of options, and ``path=value`` for values, that MongooseIM knows.

Those that we do have as well may stand here: only what we do not know is looked up.
"""


def is_lacking(path: str, known: Collection[str] = MONGOOSEIM_ONLY) -> bool:
    """Tell whether ``path`` is MongooseIM's; options under ``host_config`` count like the others.

    :param path: dotted path without positions, or ``path=value``.
    :param known: the paths.
    """
    return path in known or path.removeprefix("host_config.") in known
