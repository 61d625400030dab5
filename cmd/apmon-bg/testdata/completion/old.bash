# Completion of the flags of apmon's commands for bash: install it as
# /usr/share/bash-completion/completions/apmon-send (and for the others), or
# source it from ~/.bashrc. The commands are asked themselves, and do nothing
# else then.
_apmon() {
	local cur=${COMP_WORDS[COMP_CWORD]} words
	words=$("${COMP_WORDS[@]:0:COMP_CWORD}" ${cur:+"$cur"} --generate-bash-completion 2>/dev/null)
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o bashdefault -o default -F _apmon apmon-send apmon-recv apmon-bg
