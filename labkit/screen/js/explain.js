// What the columns and fields of a mount table mean, in a line each: proc_pid_mountinfo(5), mount_namespaces(7), mount(8).

/** @type {Record<string, string>} */
const COLUMNS = {
  mount_point: "Mount point: the directory at which this file system appears. A path that goes through it leads into it.",
  fstype: "Type: which file system driver answers here.",
  source: "Source: what mount was told as its first argument: a device, or for file systems without one any word.",
  options: "Options: of this one mount. The same file system mounted elsewhere may have others.",
  propagation: "Propagation: whether mounts made below this one appear elsewhere too, and the other way round.",
  peer_group: "Peer group: mounts with the same number tell each other of new mounts below them; a master tells its slaves.",
};

/** @type {Record<string, string>} */
const TYPES = {
  tmpfs: "tmpfs: files in memory. They are gone when the last mount of it is.",
  proc: "proc: the kernel's own view of the processes of a PID namespace, made up when you read it.",
  sysfs: "sysfs: devices and drivers, as the kernel sees them.",
  devpts: "devpts: one file for each pseudo-terminal. Your shell talks through one.",
  devtmpfs: "devtmpfs: device nodes that the kernel makes.",
  mqueue: "mqueue: POSIX message queues of an IPC namespace.",
  overlay: "overlay: a writable layer over read-only ones. Containers are built so.",
  cgroup2: "cgroup2: groups of processes, and the limits on them.",
  ext4: "ext4: a file system on a disk.",
  xfs: "xfs: a file system on a disk.",
  btrfs: "btrfs: a file system on a disk, with subvolumes.",
  squashfs: "squashfs: a compressed file system that is never written.",
  ramfs: "ramfs: files in memory, without a limit.",
};

/** @type {Record<string, string>} */
const OPTIONS = {
  rw: "rw, it can be written",
  ro: "ro, nothing can be written",
  nosuid: "nosuid, set-user-ID bits count for nothing",
  nodev: "nodev, device files can not be opened",
  noexec: "noexec, no program can be started from here",
  noatime: "noatime, reading leaves no trace in the access time",
  nodiratime: "nodiratime, reading a directory leaves no trace",
  relatime: "relatime, the access time is written now and then only",
  nosymfollow: "nosymfollow, symbolic links are not followed",
};

/** @type {Record<string, string>} */
const PROPAGATION = {
  private: "private: no mount made below it goes anywhere else, none comes in.",
  shared: "shared: mounts made below it appear below all its peers, also in other namespaces; and theirs here.",
  slave: "slave: mounts made below its master appear here, but none from here there.",
  "shared, slave": "shared, slave: it hears from a master, and passes all on to peers of its own.",
  unbindable: "unbindable: private, and it can not be the source of a bind mount.",
};

/**
 * @param {import("./table.js").Field} field
 * @param {import("./link.js").RowTold} [row] none for the column's head
 */
export function explain(field, row) {
  const { namespace } = field;
  if (namespace) {
    const { label, inode, terminals, process } = namespace;
    const who = terminals.length ? `terminal ${terminals.join(" and ")}` : `no terminal's foreground, but ${process}`;
    if (!row) return `Namespace ${label} is mnt:[${inode}]. In it: ${who}. A mount is visible there if it is in its table.`;
    return row.seen.includes(label)
      ? `${row.mount_point} is in the mount table of namespace ${label}: its processes see it.`
      : `${row.mount_point} is not in the mount table of namespace ${label}: there the path leads to what is below.`;
  }
  if (!row) return COLUMNS[field.field];
  switch (field.field) {
    case "fstype":
      return TYPES[row.fstype] ?? `${row.fstype}: see /proc/filesystems for all that this kernel knows.`;
    case "options": {
      const known = row.options.split(",").map((each) => OPTIONS[each.trim()] ?? each.trim());
      return `${row.options}: ${known.join("; ")}.`;
    }
    case "propagation":
      return PROPAGATION[row.propagation] ?? `${row.propagation}: the copies in the namespaces differ.`;
    case "peer_group":
      return row.peer_group
        ? `${row.peer_group}: its peers have the same number, wherever they are.`
        : "None: this mount is private, it has no peers.";
    case "source":
      return row.source ? `${row.source}: what mount was told. ${COLUMNS.source}` : `Empty. ${COLUMNS.source}`;
    default:
      return `${row.mount_point}: ${COLUMNS.mount_point}`;
  }
}
