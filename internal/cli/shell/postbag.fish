# Completion of postbag for fish: postbag completion fish.
function __postbag_complete
	set -l words (commandline -opc)
	set -l program $words[1]
	set -e words[1]
	set -l current (commandline -ct)
	for line in ($program __complete fish $words "$current" 2>/dev/null)
		if test "$line" = :files
			set -l flag (string match -r -- '^--[a-z-]+=' "$current")
			for path in (__fish_complete_path (string replace -r -- '^--[a-z-]+=' '' "$current"))
				echo "$flag$path"
			end
		else
			echo "$line"
		end
	end
end
complete -c postbag -f -a '(__postbag_complete)'
