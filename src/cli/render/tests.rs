//! What a kubelet, a person and a tenant put into the folders, and what comes out.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use clap::{Args as _, Command, FromArgMatches as _};
use tempfile::TempDir;

use super::*;
use crate::domain::core_config::reading::read_known_peers;

const CONFIG: &str =
    "NODE_IS_VALIDATOR=true\nKNOWN_PEERS=[\"by.hand\"] # ours\n\n[QUORUM_SET]\nVALIDATORS=[]\n";

const MEMBERS: &str = r#"{"v":1,"writer":"a/b","nodes":[
{"name":"core-a","network":"testnet","port":11625,"addresses":["10.0.0.1:11625"],"ready":true,"member":true,"uid":"a"},
{"name":"core-b","network":"testnet","port":11625,"addresses":["10.0.0.2:11625"],"ready":true,"member":true,"uid":"b"},
{"name":"core-c","network":"pubnet","port":11625,"addresses":["10.0.0.3:11625"],"ready":true,"member":true,"uid":"c"}]}"#;

/// What somebody did to a pod's folders.
type Change = fn(&Pod);

/// The three folders of a pod.
struct Pod {
    root: TempDir,
}

impl Pod {
    /// With folders for the configuration and the list; that of the copy is made by whom it needs.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("config")).unwrap();
        fs::create_dir(root.path().join("peers")).unwrap();
        Self { root }
    }

    /// A pod whose folders have the configuration and the record.
    fn usual() -> Self {
        let pod = Self::new();
        pod.config_map("config", &[("stellar-core.cfg", CONFIG)]);
        pod.config_map(
            "peers",
            &[
                ("members.json", MEMBERS),
                ("KNOWN_PEERS", "10.0.0.1:11625\n"),
            ],
        );
        pod
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The kubelet's layout: files in a folder of a revision, `..data` that points to it, names that point through
    /// that. Writing anew is what the kubelet does when the ConfigMap changes.
    fn config_map(&self, folder: &str, files: &[(&str, &str)]) {
        let folder = self.path(folder);
        let before = fs::read_dir(&folder).unwrap().count();
        let revision = format!("..revision-{before}");
        for (name, content) in files {
            let path = folder.join(&revision).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            let top = Path::new(name).iter().next().unwrap();
            let _ = fs::remove_file(folder.join(top));
            symlink(Path::new("..data").join(top), folder.join(top)).unwrap();
        }
        let _ = fs::remove_file(folder.join("..data"));
        symlink(&revision, folder.join("..data")).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o777
    }

    /// What `render` said on standard error, or failed with.
    fn render_with(&self, pod_ips: &str, flags: &[&str]) -> Result<String, String> {
        let dir = |flag: &str, path: &str| format!("--{flag}={}", self.path(path).display());
        let dirs = [
            dir("config-dir", "config"),
            dir("peers-dir", "peers"),
            dir("out-dir", "out"),
        ];
        let all = ["render"]
            .into_iter()
            .chain(dirs.iter().map(String::as_str));
        let matches = RenderArgs::augment_args(Command::new("render"))
            .try_get_matches_from(all.chain(flags.iter().copied()))
            .unwrap();
        let args = RenderArgs::from_arg_matches(&matches).unwrap();
        let mut out = Vec::new();
        let done = render(&args, pod_ips, &mut out);
        let said = String::from_utf8(out).unwrap();
        done.map(|()| said).map_err(|failed| failed.to_string())
    }

    fn render(&self, flags: &[&str]) -> Result<String, String> {
        self.render_with("", &[&["--node=core-a"], flags].concat())
    }

    /// Whom stellar-core would dial by the copy.
    fn dialled(&self) -> Vec<String> {
        read_known_peers(&self.read("out/stellar-core.cfg")).unwrap()
    }
}

#[test]
fn peers_of_the_network_are_merged_and_the_rest_is_copied() {
    let pod = Pod::usual();
    pod.config_map(
        "config",
        &[
            ("stellar-core.cfg", CONFIG),
            ("deep/er/file", "x"),
            ("extra", "\u{fffd}\r\n"),
        ],
    );
    assert_eq!(
        pod.render(&[]).unwrap(),
        "stellar-peers render: merged into stellar-core.cfg: 1 peer of network testnet, 1 of them new\n"
    );
    let expected = CONFIG.replace("\"by.hand\"]", "\"by.hand\", \"10.0.0.2:11625\"]");
    assert_eq!(pod.read("out/stellar-core.cfg"), expected);
    assert_eq!(pod.read("out/deep/er/file"), "x");
    assert_eq!(pod.read("out/extra"), "\u{fffd}\r\n");
    let mut names: Vec<_> = fs::read_dir(pod.path("out"))
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["deep", "extra", "stellar-core.cfg"]);
}

#[test]
fn what_was_added_goes_when_its_peer_goes_and_entries_by_hand_stay() {
    let pod = Pod::usual();
    pod.render(&[]).unwrap();
    let first = pod.read("out/stellar-core.cfg");
    pod.render(&["--strict"]).unwrap();
    assert_eq!(pod.read("out/stellar-core.cfg"), first);
    pod.config_map(
        "peers",
        &[("members.json", &MEMBERS.replace("10.0.0.2", "10.0.0.9"))],
    );
    pod.render(&[]).unwrap();
    assert_eq!(pod.dialled(), ["by.hand:11625", "10.0.0.9:11625"]);
}

#[test]
fn modes_are_those_of_the_source_and_a_copy_that_is_read_only_is_replaced() {
    let pod = Pod::usual();
    let source = pod.path("config/stellar-core.cfg");
    for mode in [0o400, 0o440, 0o666] {
        fs::set_permissions(&source, fs::Permissions::from_mode(mode)).unwrap();
        for _ in 0..2 {
            pod.render(&["--strict"]).unwrap();
            assert_eq!(pod.mode("out/stellar-core.cfg"), mode);
        }
    }
}

#[test]
fn a_config_file_in_a_folder_below_is_found() {
    let pod = Pod::usual();
    pod.config_map(
        "config",
        &[("stellar-core.cfg", CONFIG), ("a/core.cfg", CONFIG)],
    );
    pod.render(&["--strict", "--config-file=a/core.cfg"])
        .unwrap();
    assert!(pod.read("out/a/core.cfg").contains("10.0.0.2"));
    for outside in ["../config/stellar-core.cfg", "/etc/passwd"] {
        let flag = format!("--config-file={outside}");
        let failed = pod.render(&[&flag]).unwrap_err();
        assert!(failed.ends_with("there is no such file"), "{failed}");
    }
}

#[test]
fn whatever_stands_in_the_way_is_one_line_and_a_copy_byte_for_byte() {
    let cases: [(&str, Change); 7] = [
        (
            "there is no list yet: neither members.json nor KNOWN_PEERS",
            |pod| {
                fs::remove_dir_all(pod.path("peers")).unwrap();
            },
        ),
        (
            "there is no list yet: neither members.json nor KNOWN_PEERS",
            |pod| {
                fs::remove_dir_all(pod.path("peers")).unwrap();
                fs::create_dir(pod.path("peers")).unwrap();
            },
        ),
        ("KNOWN_PEERS is no list", |pod| {
            pod.config_map("config", &[("stellar-core.cfg", "KNOWN_PEERS='a'")]);
        }),
        (
            "KNOWN_PEERS stands in table A; move it above the first table",
            |pod| {
                pod.config_map("config", &[("stellar-core.cfg", "[A]\nKNOWN_PEERS=[]")]);
            },
        ),
        ("line 1 is no TOML: ", |pod| {
            pod.config_map("config", &[("stellar-core.cfg", "NODE_SEED=SDQSECRET\n")]);
        }),
        ("it is no UTF-8 text", |pod| {
            fs::write(pod.path("config/stellar-core.cfg"), b"A=1\n# \xff\n").unwrap();
        }),
        (
            "members.json has networks pubnet, testnet, and not core-a",
            |pod| {
                pod.config_map(
                    "peers",
                    &[("members.json", &MEMBERS.replace("core-a", "core-z"))],
                );
            },
        ),
    ];
    for (reason, change) in cases {
        let pod = Pod::usual();
        change(&pod);
        let strict = pod.render(&["--strict"]).unwrap_err();
        assert!(
            strict.starts_with(&format!("stellar-core.cfg: {reason}")),
            "{strict}"
        );
        assert!(!pod.path("out").exists());
        let said = pod.render(&[]).unwrap();
        let start =
            format!("stellar-peers render: nothing is merged into stellar-core.cfg: {reason}");
        assert!(said.starts_with(&start) && said.contains(reason), "{said}");
        let lines = said.lines().filter(|it| !it.contains("render: warning: "));
        assert_eq!(lines.count(), 1, "{said}");
        assert!(!said.contains("SECRET"), "{said}");
        let (from, to) = ("config/stellar-core.cfg", "out/stellar-core.cfg");
        assert_eq!(
            fs::read(pod.path(from)).unwrap(),
            fs::read(pod.path(to)).unwrap()
        );
    }
}

#[test]
fn a_new_node_is_told_its_network() {
    let pod = Pod::usual();
    let said = pod
        .render_with("", &["--node=core-new", "--network=Pubnet", "--strict"])
        .unwrap();
    assert!(said.contains("1 peer of network pubnet"), "{said}");
    assert_eq!(pod.dialled(), ["by.hand:11625", "10.0.0.3:11625"]);
}

#[test]
fn without_a_readable_record_the_lines_count_but_those_of_the_pod() {
    let pod = Pod::usual();
    let lines = "10.0.0.1:11625\n10.0.0.2:11625\nevil\"]\n";
    pod.config_map(
        "peers",
        &[("members.json", "{\"v\":7}"), ("KNOWN_PEERS", lines)],
    );
    let said = pod
        .render_with("10.0.0.1,fd00::1", &["--node=core-a"])
        .unwrap();
    assert_eq!(
        said,
        "stellar-peers render: members.json has version 7, and this program reads version 1; update it\n\
         stellar-peers render: KNOWN_PEERS has lines that are no peer addresses and left out: 1, first line 3\n\
         stellar-peers render: merged into stellar-core.cfg: 1 peer of all networks, from KNOWN_PEERS alone, 1 of them new\n"
    );
    assert_eq!(pod.dialled(), ["by.hand:11625", "10.0.0.2:11625"]);
    assert!(pod.render(&["--strict"]).unwrap_err().contains("version 7"));

    // A list by hand is as good as the record.
    let pod = Pod::usual();
    fs::remove_file(pod.path("peers/members.json")).unwrap();
    pod.render_with("10.0.0.9", &["--node=core-a", "--strict"])
        .unwrap();
    assert_eq!(pod.dialled(), ["by.hand:11625", "10.0.0.1:11625"]);
}

#[test]
fn a_name_that_no_node_can_have_stops_nobody() {
    let pod = Pod::usual();
    let said = pod.render_with("", &["--node=No Name"]).unwrap();
    assert!(
        said.contains(
            "nothing is merged into stellar-core.cfg: --node \"No Name\" is no object name"
        ),
        "{said}"
    );
    assert_eq!(pod.read("out/stellar-core.cfg"), CONFIG);
}

#[test]
fn a_config_that_is_not_there_is_waited_for() {
    let pod = Pod::usual();
    let failed = pod.render(&["--config-file=core.toml"]).unwrap_err();
    assert!(
        failed.ends_with("config/core.toml: there is no such file"),
        "{failed}"
    );
}

#[test]
fn where_no_copy_can_be_made_the_init_container_is_to_be_tried_again() {
    let pod = Pod::usual();
    fs::write(pod.path("out"), "a file").unwrap();
    let failed = pod.render(&[]).unwrap_err();
    assert!(failed.contains("out/stellar-core.cfg: "), "{failed}");

    let pod = Pod::usual();
    fs::create_dir_all(pod.path("out/stellar-core.cfg/full")).unwrap();
    assert!(pod.render(&[]).is_err());
    assert_eq!(
        fs::read_dir(pod.path("out")).unwrap().count(),
        1,
        "nothing unfinished is left"
    );

    let pod = Pod::usual();
    fs::remove_dir_all(pod.path("config")).unwrap();
    let failed = pod.render(&[]).unwrap_err();
    assert!(failed.contains("config: No such file"), "{failed}");
}

#[test]
fn a_file_that_cannot_be_copied_stops_nobody() {
    let pod = Pod::usual();
    symlink("nowhere", pod.path("config/dangling")).unwrap();
    fs::write(pod.path("config/other"), "x").unwrap();
    fs::create_dir_all(pod.path("out/other/full")).unwrap();
    let said = pod.render(&[]).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].starts_with("stellar-peers render: dangling is not copied: No such file"),
        "{said}"
    );
    assert!(
        lines[1].starts_with("stellar-peers render: other is not copied: "),
        "{said}"
    );
    assert_eq!(pod.dialled(), ["by.hand:11625", "10.0.0.2:11625"]);
    assert!(pod.render(&["--strict"]).is_err());
}

#[test]
fn a_list_that_cannot_be_read_is_the_reason_and_hides_no_other() {
    let pod = Pod::usual();
    symlink("nowhere", pod.path("config/dangling")).unwrap();
    fs::remove_file(pod.path("peers/KNOWN_PEERS")).unwrap();
    fs::remove_file(pod.path("peers/members.json")).unwrap();
    fs::create_dir(pod.path("peers/members.json")).unwrap();
    let said = pod.render(&[]).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("dangling is not copied: "), "{said}");
    assert!(
        lines[1].contains("nothing is merged into stellar-core.cfg: ")
            && lines[1].contains("members.json can't be read: "),
        "{said}"
    );
}

#[test]
fn folders_that_hold_themselves_or_the_copy_end() {
    let pod = Pod::usual();
    symlink(".", pod.path("config/self")).unwrap();
    symlink("../config", pod.path("config/again")).unwrap();
    fs::create_dir(pod.path("config/inner")).unwrap();
    symlink("config/inner", pod.path("out")).unwrap();
    for _ in 0..2 {
        pod.render(&["--strict"]).unwrap();
        let names = fs::read_dir(pod.path("config/inner")).unwrap();
        assert_eq!(names.count(), 1);
    }
}

#[test]
fn the_source_is_never_written_to() {
    let pod = Pod::usual();
    symlink("config", pod.path("out")).unwrap();
    let failed = pod.render(&[]).unwrap_err();
    assert!(
        failed.contains("the copy would replace what a person wrote"),
        "{failed}"
    );
    assert_eq!(pod.read("config/stellar-core.cfg"), CONFIG);
}

#[test]
fn what_a_killed_run_left_is_replaced_and_goes() {
    let pod = Pod::usual();
    fs::create_dir(pod.path("out")).unwrap();
    fs::write(pod.path("out/.stellar-peers-render"), "half").unwrap();
    fs::write(pod.path("out/theirs"), "kept").unwrap();
    pod.render(&["--strict"]).unwrap();
    assert!(!pod.path("out/.stellar-peers-render").exists());
    assert_eq!(pod.read("out/theirs"), "kept");
}

#[test]
fn a_bug_stops_nobody() {
    let rendered = or_bug(|| unreachable!("a test's panic"));
    assert!(matches!(rendered, Rendered::AsItIs(Problem::Bug)));
}

#[test]
fn a_seed_on_a_disk_is_warned_about() {
    let pod = Pod::usual();
    pod.config_map(
        "config",
        &[("stellar-core.cfg", "NODE_SEED=\"SDQ self\"\n")],
    );
    let said = pod.render(&["--strict"]).unwrap();
    let is_warned = said.contains("warning: stellar-core.cfg has a seed, and ");
    assert_eq!(
        is_warned,
        mounts::is_in_memory(&pod.path("out")) == Some(false)
    );
    assert!(!said.contains("SDQ"));
}
