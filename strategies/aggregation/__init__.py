"""Pure aggregation rules: arrays in, arrays out; no Flower, no files, no clock."""
