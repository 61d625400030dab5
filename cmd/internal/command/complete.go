package command

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/packaging/completions"
)

// oldCompletion is the last argument of calls by completion scripts of earlier
// releases, which may still be installed.
const oldCompletion = "--generate-bash-completion"

const shells = "bash|zsh|fish"

const completionDescription = `Prints a script that completes the commands of apmon: flags, their values, files.
To try it:

   bash   source <(apmon-bg completion bash)
   zsh    source <(apmon-bg completion zsh)
   fish   apmon-bg completion fish | source

To keep it, write it to a file that the shell reads:

   bash   apmon-bg in /usr/share/bash-completion/completions
   zsh    _apmon in a folder of $fpath
   fish   apmon-bg.fish in /usr/share/fish/vendor_completions.d

For bash and fish, apmon-recv and apmon-send need a copy under their names.`

// completion is the action of the subcommand completion. The scripts call it as
// "NAME completion words WORD...", which prints the candidates for the last word.
// An earlier release refuses such a call without running anything.
func (a *App) completion(cc *cli.Context) error {
	script := ""
	switch shell := cc.Args().First(); shell {
	case "bash":
		script = completions.Bash
	case "zsh":
		script = completions.Zsh
	case "fish":
		script = completions.Fish
	case "words":
		return a.write(a.complete(append(cc.Args().Tail(), "")[:max(1, cc.NArg()-1)]).String())
	case "":
		return fmt.Errorf("no shell given: it is one of %s", shells)
	default:
		return fmt.Errorf("no completion for %q: the shell is one of %s", shell, shells)
	}
	if cc.NArg() > 1 {
		return fmt.Errorf("unexpected argument %q", cc.Args().Get(1))
	}
	return a.write(script)
}

// completeOld answers the scripts of earlier releases. The last of words may be
// complete or not.
func (a *App) completeOld(words []string) error {
	if len(words) == 0 || !strings.HasPrefix(words[len(words)-1], "-") {
		words = append(words, "")
	}
	var b strings.Builder
	for _, w := range a.complete(words).words {
		b.WriteString(w[0] + "\n")
	}
	return a.write(b.String())
}

// answer holds the candidates for the last word of a command line.
type answer struct {
	kind  string      // the kind of candidates that the shell adds: see the scripts
	words [][2]string // each with a description
}

// Kinds of an answer. kindCommand is followed by the index of the first word of a
// command line; 0 is the first argument.
const (
	kindWords       = "words"
	kindFiles       = "files"
	kindDirectories = "directories"
	kindCommand     = "command"
)

// String returns the answer in the form that the scripts read: a line with the kind,
// then a line for each word, with a tab before its description.
func (a answer) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, a.kind)
	for _, w := range a.words {
		fmt.Fprintf(&b, "%s\t%s\n", w[0], w[1])
	}
	return b.String()
}

// complete returns the candidates for the last of words, the arguments of the command.
// It runs, reads and sends nothing.
func (a *App) complete(words []string) answer {
	last := len(words) - 1
	cur := words[last]
	p := a.page(nil)
	args := a.cli.ArgsUsage
	flags := true // "--" has not been given
	for i := 0; i < last; i++ {
		w := words[i]
		switch {
		case flags && w == "--":
			flags = false
		case flags && len(w) > 1 && w[0] == '-':
			name, _, given := strings.Cut(strings.TrimLeft(w, "-"), "=")
			o := find(p.options, name)
			if o == nil || o.value == "" || o.may || given {
				continue
			}
			if i++; i == last {
				return values(o.value, cur, "", last)
			}
		default:
			at := slices.IndexFunc(p.commands, func(c *cli.Command) bool { return c.Name == w })
			if at < 0 {
				return values(args, cur, "", i)
			}
			args = p.commands[at].ArgsUsage
			p = a.page(p.commands[at])
			flags = true
		}
	}
	if flags && strings.HasPrefix(cur, "-") {
		if form, value, given := strings.Cut(cur, "="); given {
			if o := find(p.options, strings.TrimLeft(form, "-")); o != nil && o.value != "" {
				return values(o.value, value, form+"=", last)
			}
			return answer{kind: kindWords}
		}
		return flagWords(p.options, cur)
	}
	found := values(args, cur, "", last)
	for _, c := range p.commands {
		if strings.HasPrefix(c.Name, cur) {
			found.words = append(found.words, [2]string{c.Name, c.Usage})
		}
	}
	if cur == "" && flags && found.kind == kindWords && len(found.words) == 0 {
		return flagWords(p.options, "--")
	}
	return found
}

func find(options []option, name string) *option {
	for i := range options {
		if slices.Contains(options[i].names, name) {
			return &options[i]
		}
	}
	return nil
}

// flagWords returns the flags that begin with prefix.
func flagWords(options []option, prefix string) answer {
	found := answer{kind: kindWords}
	for _, o := range options {
		for _, form := range o.forms() {
			if strings.HasPrefix(form, prefix) {
				found.words = append(found.words, [2]string{form, short(o.text)})
			}
		}
	}
	return found
}

// short returns the text of a flag up to the first semicolon or parenthesis.
func short(text string) string {
	if i := strings.IndexAny(text, ";("); i > 0 {
		text = text[:i]
	}
	return strings.TrimSpace(text)
}

// values returns the candidates for a placeholder of the help: FILE and DIR are files
// and folders, CMD is a command, and alternatives in lower case, such as json|text,
// are themselves; a suffix =VALUE belongs to each. Before is the text of the word
// before the value, and at is the index of the word.
func values(placeholder, cur, before string, at int) answer {
	alternatives := strings.Trim(placeholder, "[].")
	alternatives, suffix, equals := strings.Cut(alternatives, "=")
	if equals {
		suffix = "="
	}
	switch {
	case strings.HasPrefix(alternatives, "CMD"):
		return answer{kind: fmt.Sprint(kindCommand, " ", at)}
	case strings.Contains(placeholder, "FILE") && !equals:
		return answer{kind: kindFiles}
	case strings.Contains(placeholder, "FILE") && strings.Contains(cur, "="): // NAME=FILE
		return answer{kind: kindFiles}
	case strings.HasPrefix(alternatives, "DIR"):
		return answer{kind: kindDirectories}
	}
	found := answer{kind: kindWords}
	for word := range strings.SplitSeq(alternatives, "|") {
		if word != "" && !strings.ContainsFunc(word, unicode.IsUpper) && strings.HasPrefix(word+suffix, cur) {
			found.words = append(found.words, [2]string{before + word + suffix, ""})
		}
	}
	return found
}
