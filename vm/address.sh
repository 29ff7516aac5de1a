#!/bin/bash
# Print the address of this machine's JupyterLab, as the host sees it on port $1, once it answers.
set -euo pipefail
systemctl start jupyterlab || {
    journalctl --unit=jupyterlab --lines=30 --no-pager
    echo "JupyterLab did not start: what it said stands above; \`vagrant provision\` tries again."
    exit 1
} >&2
echo "The lessons, in JupyterLab; begin with 00-start-here.ipynb:"
echo "http://127.0.0.1:$1/lab?token=$(sed 's/^JUPYTER_TOKEN=//' /etc/mount-namespace-lab.env)"
