// Package conf reads configurations: destinations and directives from files, URLs,
// environment variables and command lines, as a plain [Config] value that a program can
// also build itself.
//
//	# comment
//	xApMon_maxMsgRate = 20
//	ml.example.org
//	[2001:db8::7]:8884  "a password"
//
// A line that cannot be used is a [Problem] with its source and line number; the other
// lines are used. Passwords never appear in a message, nor when a [Destination] is
// printed.
//
// # How it works
//
// Reading and parsing are separate: [Parse] and [ParseList] are pure, a [Reader] reads
// the text of a [Source], and [Load] reads several. One table describes all directives;
// parsing, merging, comparing and formatting use it, and a test compares it with
// [Sample], the file that documents every directive. A program registers its own
// directives with [Reader].Directives; they are checked with the others and returned as
// [Options].Settings.
package conf
