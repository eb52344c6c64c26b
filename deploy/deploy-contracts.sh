#!/usr/bin/env bash
# Deploys the group contract on the chains of a group, as the group file says, and prints what to write into that file.
#
#     deploy/deploy-contracts.sh GROUP_FILE URL [URL…] [-- FORGE OPTIONS]
#
# A URL is an RPC endpoint of one of the file's chains, one for each. What stands after `--` tells forge who pays, such as
# `--account NAME`, `--ledger`, or on anvil `--unlocked --sender 0x…`.
#
# The file's table of a chain says with what the contract is deployed, for ever: `instance`, and `recovery` where somebody
# may replace the key after a long silence. A chain whose `contract` exists is refused, so after a failure the same command
# goes on with the chains that are left out of it. Beside the group file, deployed-CHAIN.json keeps what was deployed.
set -euo pipefail

usage() {
  sed -n '4p' "$0" | sed 's/^#  */usage: /' >&2
  exit 64
}

group=${1:-}
[[ -n $group ]] || usage
[[ -f $group ]] || { echo "$group is no file" >&2; exit 64; }
shift
urls=()
while (($#)) && [[ $1 != -- ]]; do
  urls+=("$1")
  shift
done
((${#urls[@]})) || usage
(($#)) && shift

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
group=$(cd "$(dirname "$group")" && pwd)/$(basename "$group")
folder=$(dirname "$group")
export PATH=$root/node_modules/.bin:$PATH FOUNDRY_PROFILE=deploy LOCKSTEP_GROUP_FILE=$group
field() { node -p "JSON.parse(require('fs').readFileSync(process.argv[1], 'utf8'))[process.argv[2]]" "$1" "$2"; }

for url in "${urls[@]}"; do
  out=$(mktemp "$folder/deployed.XXXXXX")
  trap 'rm -f "$out"' EXIT
  (
    cd "$root/contracts"
    LOCKSTEP_DEPLOY_OUT=$out forge script script/Deploy.s.sol:Deploy --rpc-url "$url" --broadcast --slow \
      --non-interactive "$@" >&2
  )
  chain=$(field "$out" chain)
  mv "$out" "$folder/deployed-$chain.json"
  printf '# [[chains]] with id = %s\ncontract = "%s"\nstart_block = %s\n' \
    "$chain" "$(field "$folder/deployed-$chain.json" contract)" "$(field "$folder/deployed-$chain.json" block)"
done
