"""Typed settings: read once from Flower's run-config, checked, frozen."""

from app.settings.arguments import parse_arguments, render_arguments
from app.settings.catalogue import MethodCatalogue
from app.settings.composition import parse_composition, split_method_args
from app.settings.declared import SettingKey, config_block, declared_keys, default_config
from app.settings.parsing import parse_run_config
from app.settings.settings import FlatValue, Settings

__all__ = [
    "FlatValue",
    "MethodCatalogue",
    "SettingKey",
    "Settings",
    "config_block",
    "declared_keys",
    "default_config",
    "parse_arguments",
    "parse_composition",
    "parse_run_config",
    "render_arguments",
    "split_method_args",
]
