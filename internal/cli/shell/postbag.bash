# Completion of postbag for bash: postbag completion bash.
_postbag() {
	local line files=
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files) files=yes ;;
		*) COMPREPLY+=("$line") ;;
		esac
	done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	# Where no file is wanted, bash shall not offer its own.
	[ -n "$files" ] || compopt +o default +o bashdefault 2>/dev/null
}
complete -o bashdefault -o default -F _postbag postbag
