#!/usr/bin/env bash
# Creates the cloud resources in docs/cloud-setup.md. Idempotent: a second run changes only differences.
set -euo pipefail
# shellcheck source=infra/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage="bash infra/bootstrap.sh [--dry-run] [--alert-email ADDRESS] [--repository OWNER/NAME | --repository-id N --owner-id M]"
alert_email=''

apis=(
    aiplatform artifactregistry cloudbilling cloudquotas cloudresourcemanager compute iam iamcredentials logging serviceusage storage sts
)
reconcile_cron='*/3 * * * *'

enable_apis() {
    local enabled api
    local missing=()
    enabled=$(look '' services list --enabled --project="$project" --format='value(config.name)')
    for api in "${apis[@]}"; do
        grep -qx "$api.googleapis.com" <<<"$enabled" || missing+=("$api.googleapis.com")
    done
    if [ "${#missing[@]}" = 0 ]; then
        say exists "APIs: ${apis[*]}"
    else
        change enable enabled "APIs: ${missing[*]}" services enable "${missing[@]}" --project="$project"
    fi
}

make_accounts() {
    local present
    present=$(look '' iam service-accounts list --project="$project" --format='value(email)')
    make_account "$training_account" "Training" "$present"
    make_account "$ci_account" "CI of GitHub repository $repository_id" "$present"
    if [ -n "$supervisor_job" ]; then
        make_account "$supervisor_account" "Supervisor of GitHub repository $repository_id" "$present"
        make_account "$scheduler_account" "Scheduler of GitHub repository $repository_id" "$present"
    fi
}

make_account() { # ADDRESS TITLE PRESENT
    if grep -qxF "$1" <<<"$3"; then
        say exists "account $1"
    else
        change create created "account $1" iam service-accounts create "${1%%@*}" --project="$project" \
            --display-name="$2" --description="$made_by"
    fi
}

make_bucket() {
    local listed differs flag
    local flags=()
    local rules=$scratch/lifecycle.json
    listed=$(look '[]' storage buckets list --project="$project" --filter="name=$bucket" --raw --format=json)
    differs=$(wanted bucket "$spot_toml" "$rules" <<<"$listed")
    if [ "$differs" = absent ]; then
        change create created "bucket gs://$bucket in $region" storage buckets create "gs://$bucket" --project="$project" \
            --location="$region" --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0 \
            --lifecycle-file="$rules"
        show "$rules"
    elif [ -n "$differs" ]; then
        while IFS= read -r flag; do
            flags+=("$flag")
        done <<<"$differs"
        change update updated "bucket gs://$bucket" storage buckets update "gs://$bucket" "${flags[@]}"
    else
        say exists "bucket gs://$bucket"
    fi
}

make_registry() {
    local listed differs described='{}'
    local policy=$scratch/cleanup.json
    listed=$(look '' artifacts repositories list --project="$project" --location="$region" --format='value(name.basename())')
    if grep -qxF "$name" <<<"$listed"; then
        say exists "images $registry"
        described=$(look '{}' artifacts repositories describe "$name" --project="$project" --location="$region" --format=json)
    else
        change create created "images $registry" artifacts repositories create "$name" --project="$project" \
            --location="$region" --repository-format=docker --description="$made_by"
    fi
    differs=$(wanted cleanup "$spot_toml" "$policy" <<<"$described")
    if [ -n "$differs" ]; then
        change update updated "clean-up of old images" artifacts repositories set-cleanup-policies "$name" \
            --project="$project" --location="$region" --policy="$policy" --no-dry-run
        show "$policy"
    fi
}

show() { # FILE, which is deleted at exit
    if [ -n "$dry_run" ]; then
        printf '    # %s: %s\n' "${1##*/}" "$(cat "$1")"
    fi
}

make_pool() {
    local state
    state=$(pool_state '')
    case $state in
    '')
        change create created "identity pool $name" iam workload-identity-pools create "$name" --project="$project" \
            --location=global --display-name="$name" --description="$made_by"
        ;;
    DELETED)
        change undelete undeleted "identity pool $name" iam workload-identity-pools undelete "$name" \
            --project="$project" --location=global
        ;;
    *) say exists "identity pool $name" ;;
    esac
}

make_provider() {
    local wanted_flags listed state flag
    local flags=()
    local at=("--workload-identity-pool=$name" "--project=$project" --location=global)
    wanted_flags=$(wanted provider-flags "$repository_id" "$owner_id")
    while IFS= read -r flag; do
        flags+=("$flag")
    done <<<"$wanted_flags"
    listed=$(look '[]' iam workload-identity-pools providers list "${at[@]}" --show-deleted --format=json)
    state=$(wanted provider "$repository_id" "$owner_id" <<<"$listed")
    if [ "$state" = deleted ]; then
        change undelete undeleted "identity provider github" iam workload-identity-pools providers undelete github "${at[@]}"
        state=differs # an undeleted provider may have any settings
    fi
    case $state in
    absent)
        change create created "identity provider github" iam workload-identity-pools providers create-oidc github \
            "${at[@]}" "${flags[@]}"
        ;;
    differs)
        change update updated "identity provider github" iam workload-identity-pools providers update-oidc github \
            "${at[@]}" --no-disabled "${flags[@]}"
        ;;
    *) say exists "identity provider github" ;;
    esac
}

make_role() {
    local permissions listed described differs
    permissions=$(wanted permissions "$spot_toml")
    listed=$(look '' iam roles list --project="$project" --format='value(name.basename())')
    if ! grep -qxF "$jobs_role" <<<"$listed"; then
        change create created "role $jobs_role" iam roles create "$jobs_role" --project="$project" --quiet \
            --title="Training jobs" --description="$made_by" --stage=GA --permissions="$permissions"
        return
    fi
    described=$(look '{}' iam roles describe "$jobs_role" --project="$project" --format=json)
    differs=$(wanted role "$permissions" <<<"$described")
    if [ -n "$differs" ]; then
        change update updated "role $jobs_role" iam roles update "$jobs_role" --project="$project" --quiet \
            --permissions="$permissions"
    else
        say exists "role $jobs_role"
    fi
}

# Cloud Run runs one reconcile, with an image that image.yml deploys. Cloud Scheduler starts it while a run is open.
make_supervisor() {
    local listed state
    local at=("$supervisor_job" "--project=$project" "--region=$region")
    local flags=("--service-account=$supervisor_account" --memory=512Mi --task-timeout=540 --max-retries=0)
    listed=$(look '[]' run jobs list --project="$project" --region="$region" --format=json)
    state=$(wanted job "$supervisor_job" "$supervisor_account" <<<"$listed")
    case $state in
    absent)
        change create created "job $supervisor_job" run jobs create "${at[@]}" "${flags[@]}" --cpu=1 --tasks=1 \
            --image=us-docker.pkg.dev/cloudrun/container/job
        ;;
    differs) change update updated "job $supervisor_job" run jobs update "${at[@]}" "${flags[@]}" ;;
    *) say exists "job $supervisor_job" ;;
    esac
}

make_schedule() {
    local listed state
    local at=("$supervisor_job" "--project=$project" "--location=$region")
    local uri=https://run.googleapis.com/v2/projects/$project/locations/$region/jobs/$supervisor_job:run
    local flags=("--schedule=$reconcile_cron" "--uri=$uri" --http-method=POST "--oauth-service-account-email=$scheduler_account")
    listed=$(look '[]' scheduler jobs list --project="$project" --location="$region" --format=json)
    state=$(wanted schedule "$supervisor_job" "$reconcile_cron" "$uri" "$scheduler_account" <<<"$listed")
    case $state in
    absent)
        change create created "schedule $supervisor_job" scheduler jobs create http "${at[@]}" "${flags[@]}" \
            --description="$made_by"
        change pause paused "schedule $supervisor_job until a run is submitted" scheduler jobs pause "${at[@]}"
        ;;
    differs) change update updated "schedule $supervisor_job" scheduler jobs update http "${at[@]}" "${flags[@]}" ;;
    *) say exists "schedule $supervisor_job" ;;
    esac
}

# E-mail on a failed reconcile, and on none for 15 minutes unless the schedule was paused.
make_alert() {
    local channel listed state
    local policy=$scratch/alert.json
    if [ -z "$alert_email" ]; then
        say skipped "alert by e-mail: --alert-email ADDRESS"
        return
    fi
    listed=$(look '' logging metrics list --project="$project" --format='value(name)')
    if grep -qxF "$supervisor_job-paused" <<<"$listed"; then
        say exists "metric $supervisor_job-paused"
    else
        change create created "metric $supervisor_job-paused" logging metrics create "$supervisor_job-paused" \
            --project="$project" --description="$made_by" \
            --log-filter="protoPayload.methodName:\"CloudScheduler.PauseJob\" AND protoPayload.resourceName:\"/jobs/$supervisor_job\""
    fi
    channel=$(alert_channel)
    if [ -n "$channel" ]; then
        say exists "alert channel $alert_email"
    else
        change create created "alert channel $alert_email" beta monitoring channels create --project="$project" --type=email \
            --display-name="$supervisor_job" --channel-labels="email_address=$alert_email"
        channel=$(alert_channel)
    fi
    listed=$(look '[]' alpha monitoring policies list --project="$project" --format=json)
    state=$(wanted alert "$supervisor_job" "${channel:-CHANNEL}" "$policy" <<<"$listed")
    case $state in
    absent)
        change create created "alert $supervisor_job" alpha monitoring policies create --project="$project" \
            --policy-from-file="$policy"
        show "$policy"
        ;;
    ?*) change update updated "alert $supervisor_job" alpha monitoring policies update "$state" --policy-from-file="$policy" ;;
    *) say exists "alert $supervisor_job" ;;
    esac
}

alert_channel() {
    look '' beta monitoring channels list --project="$project" --format='value[separator=" "](name,displayName,labels.email_address)' |
        awk -v wanted="$supervisor_job $alert_email" '$2 " " $3 == wanted { print $1; exit }'
}

grant_roles() {
    local on role member below policy holds
    local condition=()
    local last=''
    while read -r -u 3 on role member below; do
        policy_of "$on"
        if [ "$on" != "$last" ]; then
            policy=$(look '{}' "${group[@]}" get-iam-policy "${target[@]}" --format=json)
            last=$on
        fi
        holds=$(wanted granted "$role" "$member" "$bucket" "$below" <<<"$policy")
        if [ -n "$holds" ]; then
            say exists "$role on $what to $member"
        else
            condition=()
            if [ "$on" != job ]; then # Cloud Run has no conditions
                condition=("--condition=$(wanted condition "$bucket" "$below")")
            fi
            change grant granted "$role on $what to $member" "${group[@]}" add-iam-policy-binding "${target[@]}" \
                --role="$role" --member="$member" "${condition[@]}"
        fi
    done 3< <(roles)
}

# Vertex AI pulls the image as its own accounts, not as the training account. The second appears with the first job.
admit_agents() {
    local kind member policy holds
    local role=roles/artifactregistry.reader
    policy_of images
    policy=$(look '{}' "${group[@]}" get-iam-policy "${target[@]}" --format=json)
    for kind in '' -cc; do
        member=serviceAccount:service-$number@gcp-sa-aiplatform$kind.iam.gserviceaccount.com
        holds=$(wanted granted "$role" "$member" "$bucket" any <<<"$policy")
        if [ -n "$holds" ]; then
            say exists "$role on $what to $member"
        elif [ -z "$kind" ]; then
            change create created "service agent of Vertex AI" beta services identity create \
                --service=aiplatform.googleapis.com --project="$project"
            change grant granted "$role on $what to $member" "${group[@]}" add-iam-policy-binding "${target[@]}" \
                --role="$role" --member="$member" --condition=None
        elif [ -z "$dry_run" ] && gcloud "${group[@]}" add-iam-policy-binding "${target[@]}" --role="$role" \
            --member="$member" --condition=None >/dev/null 2>&1; then
            say granted "$role on $what to $member"
        else
            say later "$role on $what to $member: run this script again after the first job"
        fi
    done
}

tell_github() {
    local provider=projects/$number/locations/global/workloadIdentityPools/$name/providers/github
    local where=''
    if [ "$repository" != '{owner}/{repo}' ]; then
        where=" --repo $repository"
    fi
    cat <<LINES

Set these variables on GitHub. New roles can take five minutes to apply:

gh variable set GCP_WORKLOAD_IDENTITY_PROVIDER$where --body $provider
gh variable set GCP_SERVICE_ACCOUNT$where --body $ci_account
gh variable set GCP_ARTIFACT_REPOSITORY$where --body $registry
LINES
}

main() {
    while [ $# -gt 0 ]; do
        if [ "$1" = --alert-email ]; then
            [ $# -ge 2 ] || die "$1 needs a value: $usage"
            [[ $2 =~ ^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$ ]] || die "$1 is $(quoted "$2"): expected an e-mail address"
            alert_email=$2
            shift 2
            continue
        fi
        common_argument "$@"
        shift "$taken"
    done
    prepare
    if [ -n "$supervisor_job" ]; then
        apis+=(cloudscheduler monitoring run)
    fi
    enable_apis
    number=$(project_number)
    make_accounts
    make_bucket
    make_registry
    make_pool
    make_provider
    make_role
    if [ -n "$supervisor_job" ]; then
        make_supervisor
        make_schedule
    fi
    grant_roles
    admit_agents
    if [ -n "$supervisor_job" ]; then
        make_alert
    fi
    tell_github
}

main "$@"
