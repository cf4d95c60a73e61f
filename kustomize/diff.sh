#!/usr/bin/env bash
# Shows what a cluster is given differently by two overlays: diff.sh clusterip endpointslice.
# An overlay may have components, as in endpointslice+retries.
#
# What is rendered is compared, and not the sources: there, a component or a Service is a
# line that names a folder, and two overlays may be built in different ways and yet be alike.
# Both are rendered into one namespace, and the hash in the ConfigMap's name, which differs
# whenever the strategy does, is left out.
set -euo pipefail
cd "$(dirname "$0")"

fail() { echo "$*" >&2; exit 2; }
list() { (cd "$1" && echo *); }

[ $# -eq 2 ] && [ -n "$1" ] && [ -n "$2" ] ||
  fail "give two overlays, such as: make diff A=clusterip B=endpointslice"
work=.diff.$$ # here, because kustomize takes no absolute paths
trap 'rm -rf "$work"' EXIT
mkdir "$work"

render() { # OVERLAY[+COMPONENT...] FOLDER
  local overlay=${1%%+*} component file name
  [ -f "overlays/$overlay/kustomization.yaml" ] || fail "there is no overlay \"$overlay\": give one of $(list overlays)"
  mkdir -p "$work/in/$2" "$work/$2"
  {
    printf '{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization, namespace: same, '
    printf 'resources: [../../../overlays/%s], components: [' "$overlay"
    for component in $(tr + ' ' <<<"${1#"$overlay"}"); do
      [ -f "components/$component/kustomization.yaml" ] ||
        fail "there is no component \"$component\": give one of $(list components)"
      printf '../../../components/%s,' "$component"
    done
    echo ']}'
  } >"$work/in/$2/kustomization.yaml"
  kustomize build "$work/in/$2" --output "$work/in/$2"
  rm "$work/in/$2/kustomization.yaml"
  for file in "$work/in/$2"/*; do
    # apps_v1_deployment_rng.yaml becomes deployment_rng.yaml.
    name=$(basename "$file" | sed -E 's/^.*v1_//; s/^(configmap_strategy)-[0-9a-z]{10}/\1/')
    sed -E 's/( strategy)-[0-9a-z]{10}$/\1/' "$file" >"$work/$2/$name"
  done
}

render "$1" a
render "$2" b
color=never
[ -t 1 ] && color=always
# git, and not diff, because it sees that rng-headless is rng by another name. It exits 1
# when there is a difference.
(cd "$work" && git --no-pager diff --no-index --no-ext-diff --no-prefix --color="$color" -M40% -U2 a b >diff) || [ $? -eq 1 ]
if [ ! -s "$work/diff" ]; then
  echo "$1 and $2 give a cluster the same"
  exit
fi
# What git notes of files and lines is left out: nobody has these files.
grep -vE '^(.\[[0-9;]*m)*(diff --git|index|similarity|rename|(new|deleted) file) ' "$work/diff" |
  sed -E "s#(--- )a/#\1$1/#; s#(\+\+\+ )b/#\1$2/#; s/@@ [-+0-9, ]+ @@/@@/"
