# Completes the flags of `python -m train.main` and of every `python -m eval.NAME` in bash, by tyro's own script for each:
#
#   source examples/completion.bash      # in the program's folder, or with its path from ~/.bashrc
#
# In zsh, tyro's script for one command works, and takes every `python` for that command:
#
#   python -m train.main --tyro-write-completion zsh ~/.zfunc/_bert_jax
#   fpath=(~/.zfunc $fpath); autoload -Uz compinit _bert_jax; compinit; compdef _bert_jax python

_bert_jax() {
  local module=${COMP_WORDS[2]:-}
  # Alone, tyro's script would complete everything that `python` is given. What is not ours is left to bash.
  [[ ${COMP_WORDS[1]:-} == -m && $module =~ ^(train|eval)\.[a-z]+$ ]] && ((COMP_CWORD > 2)) || return
  local complete_flags=_tyro_python__m_${module/./_}
  if ! declare -F "$complete_flags" > /dev/null; then
    source <("${COMP_WORDS[0]}" -m "$module" --tyro-print-completion bash 2> /dev/null)
    complete -r -- -m "$module" 2> /dev/null
    complete -o bashdefault -o default -o filenames -F _bert_jax python python3
    declare -F "$complete_flags" > /dev/null || return
  fi
  # Of --scheduler=mt bash makes three words, and tyro reads two.
  local -a words=()
  local index last=$COMP_CWORD
  for index in "${!COMP_WORDS[@]}"; do
    if [[ ${COMP_WORDS[index]} != "=" ]]; then
      words+=("${COMP_WORDS[index]}")
    elif ((index == COMP_CWORD)); then
      words+=("")
    elif ((index < COMP_CWORD)); then
      ((last--))
    fi
  done
  local -a COMP_WORDS=("${words[@]}")
  local COMP_CWORD=$last
  "$complete_flags"
}

complete -o bashdefault -o default -o filenames -F _bert_jax python python3
