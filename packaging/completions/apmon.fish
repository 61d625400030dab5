# Completion of apmon's commands for fish. Install it as apmon-bg.fish (and under
# the names of the others) in ~/.config/fish/completions, or source it. It runs only
# the command on the line, to get the candidates.
function __apmon_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l answer ($program completion words $words[2..-1] "$cur" 2>/dev/null)
    or return
    switch "$answer[1]"
        case files directories
            # In --flag=FILE the part after the sign is the file.
            set -l before (string match -r '^-[^=]*=|^[^/=]*=' -- "$cur")
            set -l part (string replace -- "$before" '' "$cur")
            set -l found
            if test "$answer[1]" = files
                set found (__fish_complete_path "$part")
            else
                set found (__fish_complete_directories "$part" '')
            end
            for f in $found
                printf '%s%s\n' "$before" $f
            end
        case 'command *'
            set -l at (math (string replace 'command ' '' -- $answer[1]) + 2)
            complete -C (string join ' ' -- (string escape -- $words[$at..-1]) "$cur")
        case words
            printf '%s\n' $answer[2..-1]
    end
end
for command in apmon-bg apmon-recv apmon-send
    complete -c $command -f -k -a '(__apmon_complete)'
end
