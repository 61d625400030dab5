# Completion of apmon's commands for bash. Install it as
# /usr/share/bash-completion/completions/apmon-bg (and under the names of the
# others), or source it from ~/.bashrc. It runs only the command on the line,
# to get the candidates.
_apmon() {
	local words=() starts=() rest=$COMP_LINE i word blanks cur kind prefix answer line
	# The words of the shell: COMP_WORDS are also split at = and :
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		blanks=${rest%%[![:space:]]*}
		rest=${rest#"$blanks"}
		if ((i == 0)) || [[ $blanks ]]; then
			words+=("$word") starts+=("$i")
		else
			words[${#words[@]} - 1]+=$word
		fi
		rest=${rest#"$word"}
	done
	COMPREPLY=()
	cur=${words[${#words[@]} - 1]}
	mapfile -t answer < <("${words[0]/#\~\//$HOME/}" completion words "${words[@]:1}" 2>/dev/null)
	kind=${answer[0]}
	case $kind in
	files)
		compopt -o bashdefault -o default
		return
		;;
	directories)
		compopt -o dirnames
		return
		;;
	command\ *)
		i=$((${kind#command } + 1))
		if declare -F _comp_command_offset >/dev/null; then
			_comp_command_offset "${starts[i]}"
		elif declare -F _command_offset >/dev/null; then
			_command_offset "${starts[i]}"
		elif ((i == ${#words[@]} - 1)); then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		else
			compopt -o bashdefault -o default
		fi
		return
		;;
	esac
	# Readline replaces only the part after the last = or :
	[[ $COMP_WORDBREAKS == *=* ]] && prefix=${cur%"${cur##*=}"}
	for line in "${answer[@]:1}"; do
		word=${line%%$'\t'*}
		COMPREPLY+=("${word#"$prefix"}")
	done
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _apmon apmon-bg apmon-recv apmon-send
