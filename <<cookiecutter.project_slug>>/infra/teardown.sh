#!/usr/bin/env bash
# Removes what bootstrap.sh created for this repository. Keeps the data in the bucket without --delete-data.
set -euo pipefail
# shellcheck source=infra/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage="bash infra/teardown.sh --yes [--delete-data] [--dry-run] [--repository OWNER/NAME | --repository-id N --owner-id M]"

yes=''
delete_data=''

# First of all: this refuses every further access from GitHub.
remove_pool() {
    local state
    state=$(pool_state "$name ACTIVE")
    if [ "$state" = ACTIVE ]; then
        change delete deleted "identity pool $name" iam workload-identity-pools delete "$name" --project="$project" --location=global
    else
        say gone "identity pool $name"
    fi
}

find_accounts() {
    local account
    accounts=("$ci_account" "$training_account")
    [ -z "$supervisor_job" ] || accounts+=("$supervisor_account" "$scheduler_account")
    present=$(look "$(printf "%s|$made_by\n" "${accounts[@]}")" iam service-accounts list \
        --project="$project" --format='value[separator="|"](email,description)')
}

# Another project that uses these accounts has its own jobs.
remove_supervisor() {
    local listed found id
    local at=("$supervisor_job" "--project=$project")
    listed=$(look "$supervisor_job" scheduler jobs list --project="$project" --location="$region" --format='value(name.basename())')
    remove "schedule $supervisor_job" "$listed" scheduler jobs delete "${at[@]}" "--location=$region"
    listed=$(look "$supervisor_job" run jobs list --project="$project" --region="$region" --format='value(metadata.name)')
    remove "job $supervisor_job" "$listed" run jobs delete "${at[@]}" "--region=$region"
    for found in policies channels; do
        listed=$(look "$found $supervisor_job" alpha monitoring "$found" list --project="$project" \
            --format='value[separator=" "](name,displayName)' | awk -v name="$supervisor_job" '$2 == name { print $1 }')
        [ -n "$listed" ] || say gone "alert $found $supervisor_job"
        while read -r -u 3 id; do # an address that changed left a second channel
            change delete deleted "alert $found $supervisor_job" alpha monitoring "$found" delete "$id" --project="$project"
        done 3< <(printf '%s' "${listed:+$listed$'\n'}")
    done
    listed=$(look "$supervisor_job-paused" logging metrics list --project="$project" --format='value(name)')
    at[0]=$supervisor_job-paused
    remove "metric $supervisor_job-paused" "$listed" logging metrics delete "${at[@]}"
}

remove() { # WHAT LISTED GROUP KIND delete NAME ...
    if grep -qxF "$6" <<<"$2"; then
        change delete deleted "$1" "${@:3}"
    else
        say gone "$1"
    fi
}

is_there() { # ADDRESS
    awk -F '|' -v address="$1" '$1 == address { found = 1 } END { exit !found }' <<<"$present"
}

# Another repository may use the same account, which belongs to the repository it was created for.
is_ours() { # ADDRESS
    grep -qxF "$1|$made_by" <<<"$present"
}

find_bucket() {
    bucket_found=$(look "$bucket" storage buckets list --project="$project" --filter="name=$bucket" --format='value(name)')
}

# Their jobs would continue without a supervisor, and cost money.
refuse_while_runs_are_open() {
    local open
    if [ -z "$bucket_found" ]; then
        return
    fi
    open=$(look '' storage objects list "gs://$bucket/$prefix/runs/open/**" --limit=1 --format='value(name)')
    if [ -n "$open" ]; then
        open=${open##*/}
        die "run ${open%.json} is open: run spot cancel ${open%.json} and wait until spot status lists no run"
    fi
}

revoke_roles() {
    local on role member below policy holds condition
    local last=''
    while read -r -u 3 on role member below; do
        is_to_go "$on" "$member" || continue
        policy_of "$on"
        if [ "$on" != "$last" ]; then
            policy=$(look '{}' "${group[@]}" get-iam-policy "${target[@]}" --format=json)
            last=$on
        fi
        holds=$(wanted granted "$role" "$member" "$bucket" "$below" <<<"$policy")
        if [ -n "$dry_run$holds" ]; then
            condition=$(wanted condition "$bucket" "$below")
            change revoke revoked "$role on $what from $member" "${group[@]}" remove-iam-policy-binding "${target[@]}" \
                --role="$role" --member="$member" --condition="$condition"
        fi
    done 3< <(roles)
}

# False for a role that is deleted with its resource, and for a shared account.
is_to_go() { # ON MEMBER
    if [ "$2" = "serviceAccount:$training_account" ] && is_there "$training_account" && ! is_ours "$training_account"; then
        return 1
    fi
    case $1 in
    project) return 0 ;;
    bucket) [ -n "$bucket_found" ] ;;
    training) is_there "$training_account" && ! is_ours "$training_account" ;;
    *) return 1 ;;
    esac
}

remove_accounts() {
    local account
    for account in "${accounts[@]}"; do
        if is_ours "$account"; then
            change delete deleted "account $account" iam service-accounts delete "$account" --project="$project"
        elif is_there "$account"; then
            say kept "account $account: created for another repository or by hand"
        else
            say gone "account $account"
        fi
    done
}

remove_registry() {
    local listed
    listed=$(look "$name" artifacts repositories list --project="$project" --location="$region" --format='value(name.basename())')
    if grep -qxF "$name" <<<"$listed"; then
        change delete deleted "images $registry" artifacts repositories delete "$name" --project="$project" --location="$region"
    else
        say gone "images $registry"
    fi
}

remove_bucket() {
    if [ -z "$bucket_found" ]; then
        say gone "bucket gs://$bucket"
    elif [ -z "$delete_data" ]; then
        say kept "bucket gs://$bucket and its objects (--delete-data deletes gs://$bucket/$prefix)"
    else
        delete_objects
        delete_if_empty
    fi
}

delete_objects() {
    local one
    one=$(first_object "gs://$bucket/$prefix/**")
    if [ -n "$one" ]; then
        change delete deleted "objects gs://$bucket/$prefix" storage rm "gs://$bucket/$prefix/**"
    else
        say gone "objects gs://$bucket/$prefix"
    fi
}

delete_if_empty() {
    local other=''
    if [ -z "$dry_run" ]; then
        other=$(first_object "gs://$bucket/**")
    fi
    if [ -n "$other" ]; then
        say kept "bucket gs://$bucket: other objects remain, such as $other"
    else
        change delete deleted "bucket gs://$bucket" storage buckets delete "gs://$bucket"
    fi
}

first_object() { # PATTERN
    look "$1" storage objects list "$1" --limit=1 --format='value(name)'
}

main() {
    while [ $# -gt 0 ]; do
        case $1 in
        --yes) yes=yes ;;
        --delete-data) delete_data=yes ;;
        *)
            common_argument "$@"
            shift "$taken"
            continue
            ;;
        esac
        shift
    done
    if [ -z "$yes$dry_run" ]; then
        die "--yes is missing (--dry-run lists the changes): $usage"
    fi
    prepare
    number=$(project_number)
    find_accounts
    find_bucket
    refuse_while_runs_are_open
    remove_pool
    [ -z "$supervisor_job" ] || remove_supervisor
    revoke_roles
    remove_accounts
    remove_registry
    remove_bucket
    say kept "APIs: other software may use them"
    say kept "role $jobs_role: Google would block its name for 37 days"
}

main "$@"
