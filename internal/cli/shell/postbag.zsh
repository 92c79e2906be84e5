#compdef postbag
# Completion of postbag for zsh: postbag completion zsh.
_postbag() {
	local line files=
	local -a lines values shown
	lines=("${(@f)$("${(Q)words[1]/#\~/$HOME}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
	for line in $lines; do
		if [[ $line == :files ]]; then
			files=yes
		else
			values+=("${line%%$'\t'*}")
			shown+=("${line/$'\t'/  -- }")
		fi
	done
	(( $#values )) && compadd -l -d shown -a values
	if [[ -n $files ]]; then
		[[ $PREFIX == --*=* ]] && compset -P '*='
		_files
	fi
}
if [[ $funcstack[1] == _postbag ]]; then
	_postbag "$@"
else
	compdef _postbag postbag
fi
