package conf

import _ "embed"

// Sample is a configuration file that documents every directive with its
// default, every form of a destination, and every monitoring option. Nothing in
// it is in force: what a line "#xApMon_..." or "#host" shows, it says once its
// '#' is taken away.
//
//go:embed destinations.conf
var Sample string
