// Package conf says what to send to: it reads destinations and directives from
// configuration files, environment variables and command lines into a plain
// [Config] value that can as well be built by hand.
//
//	# comment
//	xApMon_maxMsgRate = 20
//	ml.example.org
//	[2001:db8::7]:8884  "a password"
//
// A line that cannot be used is reported as a [Problem] with its source and
// number, and the others are used all the same. Passwords never appear in a
// message, nor in what a [Destination] prints of itself.
//
// Reading and parsing are apart: [Parse] and [ParseList] are pure, a [Reader]
// fetches the text of a [Source], and [Load] that of several. [Sample] is a file
// that documents every directive.
package conf
