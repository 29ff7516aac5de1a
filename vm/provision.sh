#!/bin/bash
# Make this Debian 13 the machine of a class. Run again, it changes what is not so yet, and nothing else. It knows no provider.
set -euo pipefail
umask 022
cd /vagrant
readonly TOKEN=/etc/mount-namespace-lab.env

install_what_is_missing() {
    local package missing=()
    for package in $(grep --invert-match '^#' vm/packages.txt); do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    if ((${#missing[@]})); then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -qq --no-install-recommends "${missing[@]}"
    fi
}

make_the_student() {
    id student &>/dev/null || useradd --create-home --shell /bin/bash student
}

# A public box's user has a password that everybody knows. Vagrant comes in by a key, and needs none.
lock_the_known_password() {
    ! id vagrant &>/dev/null || passwd --quiet --lock vagrant
}

# Once: an address that was handed out stays good. JupyterLab reads it as root's gift: a student cannot change it.
make_the_token() {
    [[ -s $TOKEN ]] && return
    python3 -c 'import secrets; print(f"JUPYTER_TOKEN={secrets.token_hex(24)}")' |
        install --mode=640 --group=student /dev/stdin "$TOKEN"
}

# Nobody's work is interrupted by a provision that has nothing to do. Where JupyterLab does not start, address.sh says why.
serve() {
    local action=$1
    install --mode=644 vm/jupyterlab.service /etc/systemd/system/jupyterlab.service
    systemctl daemon-reload
    systemctl --quiet enable jupyterlab
    systemctl "$action" jupyterlab || true
}

install_what_is_missing
make_the_student
lock_the_known_password
make_the_token
before=$(cat /opt/mount-namespace-lab/installed 2>/dev/null || true)
vm/install-kit
if [[ $before == "$(cat /opt/mount-namespace-lab/installed)" ]]; then serve start; else serve restart; fi
runuser --login student --command 'labkit doctor' || (($? == 3)) # 3: a lab runs; memory may be short where a class works
