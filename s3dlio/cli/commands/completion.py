"""``completion``: the script that has a shell ask us what may follow, for ``s3-cli`` and ``s3dlio``."""

from __future__ import annotations

from s3dlio.cli.completing import COMMAND
from s3dlio.cli.context import Context

_BASH = """\
# Completion for bash. Try it: eval "$(s3-cli completion bash)"
_s3_cli() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\\t'*}")
    done < <("$1" @COMMAND@ bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    [[ ${COMPREPLY[0]-} == *[/=] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _s3_cli s3-cli s3dlio
"""

_ZSH = """\
#compdef s3-cli s3dlio
# Completion for zsh. Try it: eval "$(s3-cli completion zsh)"; or keep it as _s3-cli in a directory of $fpath.
_s3_cli() {
    local line word help
    local -a open open_shown whole whole_shown
    while IFS= read -r line; do
        word=${line%%$'\\t'*} help=${line#*$'\\t'}
        [[ -n $help ]] && help="$word  -- $help" || help=$word
        if [[ $word == *[/=] ]]; then
            open+=("$word") open_shown+=("$help")
        else
            whole+=("$word") whole_shown+=("$help")
        fi
    done < <("${(Q)words[1]}" @COMMAND@ zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    (( $#open )) && compadd -S '' -l -d open_shown -a open
    (( $#whole )) && compadd -l -d whole_shown -a whole
    (( $#open + $#whole ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _s3_cli "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _s3_cli s3-cli s3dlio
fi
"""

_FISH = """\
# Completion for fish. Try it: s3-cli completion fish | source
function __s3_cli_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l word (commandline -ct | string unescape)
    test (count $word) -gt 0; or set word (commandline -ct)
    test (count $word) -gt 0; or set word ''
    command $program @COMMAND@ fish $words "$word" 2>/dev/null
end
complete -c s3-cli -f -a '(__s3_cli_complete)'
complete -c s3dlio -f -a '(__s3_cli_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(context: Context) -> None:
    """The script on standard output; with ``--json`` as the value of ``script``."""
    shell = context.args.shell
    script = SCRIPTS[shell].replace("@COMMAND@", COMMAND)
    context.out.result({"shell": shell, "script": script}, script, end="")
