#!/usr/bin/env bash
# Asks Holdpoint's bridge about one call, and ends with 0 only if it is allowed.
#   gate.sh TOOL SUBJECT [PAYLOAD_JSON]
# Exit codes: 0 allow, 10 deny, 11 nobody has decided within WAIT seconds, 12 anything else.
# Needs bash, curl and jq. BRIDGE_KEY: the caller's key. CALL_ID: the name of this call; with the same one, a script that is
# run again asks the same question.
set -uo pipefail
tool=${1-} subject=${2-} payload=${3-"{}"}
url=${BRIDGE_URL:-http://127.0.0.1:7879} wait=${WAIT:-300} key=${CALL_ID:-$(cat /proc/sys/kernel/random/uuid)}
stop() { printf '%s\n' "$2" >&2; exit "$1"; }
[[ -n $tool && -n $subject ]] || stop 12 "usage: gate.sh TOOL SUBJECT [PAYLOAD_JSON]"
[[ $tool != *[[:space:]]* ]] || stop 12 "the name of a tool has no spaces"
[[ $wait =~ ^[0-9]{1,6}$ ]] || stop 12 "WAIT is a number of seconds"
body=$(jq -cn --arg t "$tool" --arg s "$subject" --argjson p "$payload" '{tool_name: $t, subject: $s, payload: $p}') ||
  stop 12 "the payload is not JSON"
place=/v1/decisions method=POST until=$((SECONDS + wait)) tries=0
folder=$(mktemp -d) || stop 12 "no folder for what the bridge says"
trap 'rm -rf "$folder"' EXIT
if [[ -n ${BRIDGE_KEY-} ]]; then
  [[ $BRIDGE_KEY =~ ^[A-Za-z0-9_.~-]+$ ]] || stop 12 "BRIDGE_KEY is not a key"
  # Not in the process list; the folder is ours alone.
  printf 'header = "Authorization: Bearer %s"\n' "$BRIDGE_KEY" >"$folder/key" || stop 12 "no file for the key"
fi

while :; do
  left=$((until - SECONDS)); ((left > 0)) || left=0
  held=$((left < 50 ? left : 50))
  request=(--disable --silent --show-error --noproxy '*' --max-time $((held + 20)) --max-filesize 16777216
    --dump-header "$folder/head" --output "$folder/body" --write-out '%{http_code} %{content_type}' --request "$method")
  [[ -z ${BRIDGE_KEY-} ]] || request+=(--config "$folder/key")
  [[ $method == GET ]] ||
    request+=(--header "Idempotency-Key: $key" --header 'Content-Type: application/json' --data-raw "$body")
  : >"$folder/head" >"$folder/body"
  if ! said=$(curl "${request[@]}" "$url$place?wait=$held") || [[ $said == 429* || $said == 5?? || $said == 5??' '* ]]; then
    # The same question again, with the same key.
    ((++tries < ${TRIES:-6})) || stop 12 "the bridge cannot be asked: ${said:-no answer}"
    sleep "$tries"
    continue
  fi
  tries=0
  # One header, one body, one status: all three say the same, or it is no answer.
  word=$(tr -d '\r' <"$folder/head" | sed -n 's/^[Hh]oldpoint-[Dd]ecision: //p')
  read -r decision tool_name mode id detail < <(jq -r --slurp 'if length == 1 then .[0] | [.decision, .tool_name, .mode, .id, .detail]
    | map(tostring | gsub("\\s+"; "_")) | join(" ") else "" end' "$folder/body" 2>/dev/null)
  [[ $word == "${decision-}" && ${tool_name-} == "$tool" && ${mode-} == check && ${id-} =~ ^op_[0-9a-f]{40}$ ]] ||
    stop 12 "not an answer: $said"
  case "$said $word" in
    "200 application/json allow") printf 'allow %s\n' "$id"; exit 0 ;;
    "200 application/json deny") stop 10 "deny: ${detail//_/ }" ;;
    "202 application/json pending") ;;
    *) stop 12 "not an answer: $said" ;;
  esac
  place=/v1/decisions/$id method=GET
  ((SECONDS < until)) || stop 11 "pending: ${detail//_/ } CALL_ID=$key"
done
