#compdef apmon-send apmon-recv apmon-bg
# Completion of the flags of apmon's commands for zsh: install it into a folder
# of $fpath. The commands are asked themselves, and do nothing else then.
local -a words_
words_=(${(f)"$(${words[1,CURRENT-1]} ${words[CURRENT]:+$words[CURRENT]} --generate-bash-completion 2>/dev/null)"})
compadd -a words_
_files
