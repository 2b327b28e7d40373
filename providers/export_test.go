package providers

// Defaults is the table that all sources share.
var Defaults = defaults
