// Package completions holds the scripts with which shells complete the commands
// of this project. The commands print them: "apmon-bg completion bash".
package completions

import _ "embed"

// The scripts, by shell. Each serves all commands. They ask the command on the
// line itself, with the words up to the cursor:
//
//	apmon-bg completion words exec --cg
//
// The first line of the answer is what the shell itself offers: words (nothing),
// files, directories, or "command N", a command line that begins at the word of
// index N. The other lines are words, each with a tab and a description behind.
var (
	//go:embed apmon.bash
	Bash string
	//go:embed _apmon
	Zsh string
	//go:embed apmon.fish
	Fish string
)
