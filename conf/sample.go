package conf

import _ "embed"

// Sample is a configuration file that documents every directive with its default, every
// form of a destination, and every monitoring option. All of it is commented out: remove
// the '#' of a line "#xApMon_..." or "#host" to enable it.
//
//go:embed destinations.conf
var Sample string
