# Read by every interactive shell.
[[ $- == *i* ]] || return
PS1='\u@\h:\w\$ '
HISTFILE=~/.bash_history
HISTCONTROL=ignoredups
shopt -s checkwinsize
alias ll='ls -l'
alias ls='ls --color=auto'
