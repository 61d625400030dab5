package command

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// A release sets these with -ldflags -X (packaging/build.sh). Other builds leave them empty,
// and the build information of Go has what is known.
var (
	version string // such as "v1.2.3"
	commit  string // the full hash
	date    string // of the commit, in RFC 3339
)

// Version returns the version of this module: that of the release, else the one in the build
// information, which is "(devel)" or made from the commit for a build in a checkout.
func Version() string { return readBuild(debug.ReadBuildInfo()).version }

// build describes how a command was built. An empty commit or date is unknown.
type build struct{ version, commit, date string }

// readBuild returns what a release has set, and for the rest the build information, if ok.
func readBuild(info *debug.BuildInfo, ok bool) build {
	b := build{version, commit, date}
	if !ok {
		info = new(debug.BuildInfo)
	}
	if b.version == "" {
		b.version = info.Main.Version
	}
	if b.version == "" {
		b.version = "(devel)"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.commit == "":
			b.commit = s.Value
		case s.Key == "vcs.time" && b.date == "":
			b.date = s.Value
		}
	}
	return b
}

// String returns the version, and in parentheses commit, date, version of Go and platform.
func (b build) String() string {
	var about []string
	if b.commit != "" {
		about = append(about, "commit "+b.commit)
	}
	if b.date != "" {
		about = append(about, b.date)
	}
	about = append(about, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return b.version + " (" + strings.Join(about, ", ") + ")"
}
