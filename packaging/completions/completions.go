// Package completions holds the shell completion scripts of the commands. The
// commands print them: "apmon-bg completion bash".
package completions

import _ "embed"

// The scripts for each shell. Each script serves all commands. It runs the command on the
// command line with the words up to the cursor:
//
//	apmon-bg completion words exec --cg
//
// The first line of the output is the kind of candidates that the shell adds: words
// (none), files, directories, or "command N" (a command line that begins at the word
// with index N). Each other line is a candidate, a tab and a description.
var (
	//go:embed apmon.bash
	Bash string
	//go:embed _apmon
	Zsh string
	//go:embed apmon.fish
	Fish string
)
