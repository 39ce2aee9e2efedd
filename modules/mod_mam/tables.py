"""The tables of mod_mam, besides those of the message log."""

from modules.mod_mam.prefs import mam_config
from modules.mod_mam.retention import mam_retention
from modules.mod_mam.search import CREATE
from mongoosetw.storage.schema import Schema

SCHEMA = Schema("mod_mam", 1, (mam_config, mam_retention), more=CREATE)
