# shellcheck shell=bash disable=SC2034,SC2154 # variables cross between this file and the scripts that source it
# Shared by bootstrap.sh and teardown.sh: arguments, settings, roles and calls of gcloud.

program=${0##*/}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
spot_toml=$root/spot.toml
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

dry_run=''
repository='{owner}/{repo}' # gh replaces both by the repository of this folder
repository_id=''
owner_id=''

LC_ALL=C # a-z matches 26 letters
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

die() { # SENTENCE
    printf '%s: %s\n' "$program" "$1" >&2
    exit 2
}

# Reads one flag that both scripts accept; sets $taken to its number of words.
common_argument() { # FLAG [VALUE] ...
    taken=2
    case $1 in
    --dry-run)
        dry_run=yes
        taken=1
        return
        ;;
    --repository | --repository-id | --owner-id) [ $# -ge 2 ] || die "$1 needs a value: $usage" ;;
    *) die "unknown argument $(quoted "$1"): $usage" ;;
    esac
    case $1 in
    --repository)
        if [[ ! $2 =~ ^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$ ]] || [[ ${2#*/} =~ ^\.+$ ]]; then
            die "--repository is $(quoted "$2"): expected OWNER/NAME"
        fi
        repository=$2
        ;;
    --repository-id) repository_id=$(number "$1" "$2") ;;
    --owner-id) owner_id=$(number "$1" "$2") ;;
    esac
}

quoted() { # VALUE
    local safe
    safe=$(printf '%q' "$1")
    printf '%s' "${safe:0:80}"
}

number() { # NAME VALUE
    [[ $2 =~ ^[1-9][0-9]{0,17}$ ]] || die "$1 is $(quoted "$2"): expected a number, .id or .owner.id in gh api repos/OWNER/NAME"
    printf '%s' "$2"
}

# Checks everything before the first call of Google Cloud.
prepare() {
    local settings ids
    python=$root/.nox/environment/bin/python
    [ -x "$python" ] || python=python3
    if ! "$python" -c 'import sys, pydantic; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        die "no Python 3.11 or newer with pydantic: run .venv/bin/nox -s environment"
    fi
    settings=$(wanted settings "$spot_toml")
    {
        read -r project
        read -r region
        read -r bucket
        read -r prefix
        read -r training_account
        read -r supervisor_job
    } <<<"$settings"
    [ "$supervisor_job" != github ] || supervisor_job=''
    if [ -z "$repository_id" ] && [ -z "$owner_id" ]; then
        ids=$(repository_ids)
        read -r repository_id owner_id repository <<<"$ids"
        repository_id=$(number "the repository's id" "$repository_id")
        owner_id=$(number "the owner's id" "$owner_id")
    fi
    if [ -z "$repository_id" ] || [ -z "$owner_id" ]; then
        die "--repository-id and --owner-id are needed together"
    fi
    if [ -z "$dry_run" ] && ! command -v gcloud >/dev/null; then
        die "gcloud is missing: install the Google Cloud CLI, then run gcloud auth login"
    fi

    # GitHub never changes or reuses the id of a repository, unlike its name.
    name=github-$repository_id
    made_by="Made by infra/bootstrap.sh for the GitHub repository $repository_id"
    ci_account=$name@$project.iam.gserviceaccount.com
    supervisor_account=supervisor-$repository_id@$project.iam.gserviceaccount.com
    scheduler_account=scheduler-$repository_id@$project.iam.gserviceaccount.com
    jobs_role=github_$repository_id
    registry=$region-docker.pkg.dev/$project/$name
}

repository_ids() {
    if ! command -v gh >/dev/null; then
        die "gh is missing: install it, or give --repository-id N --owner-id M"
    fi
    if ! gh api "repos/$repository" --jq '"\(.id) \(.owner.id) \(.full_name)"' 2>"$scratch/gh"; then
        die "gh does not find the repository ($(head -n 1 "$scratch/gh")): give --repository OWNER/NAME, or run gh auth login"
    fi
}

wanted() { # QUESTION [ARGUMENT ...]
    PYTHONPATH=$root/src "$python" -B "$root/infra/wanted.py" "$@"
}

# Retries while Google propagates a new account or a newly enabled API.
google() { # ARGUMENT ... of gcloud
    local try
    for try in 1 2 3 4 5 6; do
        if gcloud "$@" 2>"$scratch/said"; then
            return
        fi
        if [ "$try" = 6 ] || ! grep -Eq 'SERVICE_DISABLED|has not been used in project|Service account .* does not exist' "$scratch/said"; then
            break
        fi
        printf '%s: Google has not propagated the last change: retry in 10 seconds\n' "$program" >&2
        sleep 10
    done
    {
        printf '%s: this command failed, run the script again to continue: gcloud %s\n' "$program" "$*"
        cat "$scratch/said"
    } >&2
    exit 1
}

# Reads from Google Cloud. A dry run prints the first argument instead.
look() { # IN_A_DRY_RUN ARGUMENT ... of gcloud
    if [ -n "$dry_run" ]; then
        printf '%s\n' "$1"
    else
        google "${@:2}"
    fi
}

say() { # VERB WHAT
    printf '%-15s %s\n' "$1" "$2"
}

# Runs the command. A dry run prints it instead.
change() { # VERB PARTICIPLE WHAT ARGUMENT ... of gcloud
    local verb=$1 participle=$2 what=$3
    shift 3
    if [ -n "$dry_run" ]; then
        say "would $verb" "$what"
        printf '    gcloud'
        printf ' %q' "$@"
        printf '\n'
    else
        google "$@" >/dev/null
        say "$participle" "$what"
    fi
}

# Every role of each account: resource, role, member, and the names of the objects that the role is limited to.
# Google checks the right to list objects on the bucket, so the roles that list have no limit.
roles() {
    local ci=serviceAccount:$ci_account training=serviceAccount:$training_account
    local pool=projects/$number/locations/global/workloadIdentityPools/$name
    cat <<TABLE
project projects/$project/roles/$jobs_role $ci any
project roles/logging.logWriter $training any
bucket roles/storage.objectViewer $ci any
bucket roles/storage.objectUser $ci $prefix/
bucket roles/storage.objectViewer $training any
bucket roles/storage.objectUser $training $prefix/checkpoints/,$prefix/models/,$prefix/tensorboard/
images roles/artifactregistry.writer $ci any
training roles/iam.serviceAccountUser $ci any
ci roles/iam.workloadIdentityUser principalSet://iam.googleapis.com/$pool/attribute.repository_id/$repository_id any
TABLE
    [ -n "$supervisor_job" ] || return 0
    local supervisor=serviceAccount:$supervisor_account
    cat <<TABLE
project projects/$project/roles/$jobs_role $supervisor any
bucket roles/storage.objectViewer $supervisor any
bucket roles/storage.objectUser $supervisor $prefix/
training roles/iam.serviceAccountUser $supervisor any
supervisor roles/iam.serviceAccountUser $ci any
job roles/run.developer $ci any
job roles/run.invoker serviceAccount:$scheduler_account any
TABLE
}

# Sets $group, $target and $what: the gcloud words for the policy of one resource in that table.
policy_of() { # project | bucket | images | training | ci | supervisor | job
    case $1 in
    project) group=(projects) target=("$project") what="project $project" ;;
    bucket) group=(storage buckets) target=("gs://$bucket") what="bucket gs://$bucket" ;;
    images)
        group=(artifacts repositories)
        target=("$name" "--project=$project" "--location=$region")
        what="images $registry"
        ;;
    training) group=(iam service-accounts) target=("$training_account" "--project=$project") what="account $training_account" ;;
    ci) group=(iam service-accounts) target=("$ci_account" "--project=$project") what="account $ci_account" ;;
    supervisor)
        group=(iam service-accounts)
        target=("$supervisor_account" "--project=$project")
        what="account $supervisor_account"
        ;;
    job) group=(run jobs) target=("$supervisor_job" "--project=$project" "--region=$region") what="job $supervisor_job" ;;
    esac
}

project_number() {
    look PROJECT_NUMBER projects describe "$project" --format='value(projectNumber)'
}

pool_state() {
    look "$1" iam workload-identity-pools list --project="$project" --location=global --show-deleted \
        --format='value(name.basename(),state)' | awk -v name="$name" '$1 == name { print $2 }'
}
