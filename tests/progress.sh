#!/usr/bin/env bash
# progress.sh COMMAND...: runs a command that runs tests, and says after each of them how many are done, how many there
# are and how long it has taken. The exit code is the command's.
set -uo pipefail

done=0 of=0
"$@" | while IFS= read -r line; do
  case $line in
    'running '*' test'*)
      of=${line#running } of=${of%% *} done=0 ;;
    'test '*' ... '*)
      done=$((done + 1))
      line="$line  ($done of $of done, $SECONDS s)" ;;
  esac
  printf '%s\n' "$line"
done
exit "${PIPESTATUS[0]}"
