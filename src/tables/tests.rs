use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::stats::{LabelRule, Ladder, Method, Tables};

fn plan(method: fn(Ladder) -> Method) -> Plan {
    let ladder = Ladder::new(vec![0.1, 0.25], 70);
    Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Leader, method: method(ladder) }
}

fn kinds() -> [Plan; 2] {
    [plan(Method::Table), plan(Method::Table1)]
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn tables_are_built_once_and_read_back_the_same() {
    for plan in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TableCache::in_folder(folder.path().join("not/there/yet"));
        let built = cache.test(plan.clone()).unwrap();
        let kept = files(cache.folder().unwrap());
        assert_eq!(kept.len(), 1, "{kept:?}");
        // What the file holds is what is used: a valid table that certifies later than the best one shows it.
        let mut later = built.tables().unwrap().clone();
        match &mut later {
            Tables::OneBound(tables) => tables[1].certify_at.truncate(1),
            Tables::TwoClass(tables) => {
                tables[1].certify_at.truncate(1);
                tables[1].go_on_from.truncate(1);
            }
        }
        file::write(cache.folder().unwrap(), &plan, &later).unwrap();
        assert_ne!(built.tables(), Some(&later));
        assert!(cache.test(plan).unwrap().tables() == Some(&later), "the file is not used");
    }
}

#[test]
fn plans_differing_in_anything_have_files_of_their_own() {
    let base = plan(Method::Table1);
    let ladder =
        |radii: &[f64], n_max, futility| Method::Table1(Ladder { radii: radii.to_vec(), n_max, futility });
    let others = [
        Plan { sigma: 0.250_000_000_000_000_06, ..base.clone() },
        Plan { alpha: 0.001_000_000_000_000_000_2, ..base.clone() },
        Plan { label: LabelRule::Fixed, ..base.clone() },
        Plan { label: LabelRule::Open { max_labels: 2 }, ..base.clone() },
        Plan { method: ladder(&[0.1], 70, 0.05), ..base.clone() },
        Plan { method: ladder(&[0.1, 0.25], 71, 0.05), ..base.clone() },
        Plan { method: ladder(&[0.1, 0.25], 70, 0.04), ..base.clone() },
        plan(Method::Table),
        base.clone(),
    ];
    let mut paths: Vec<_> = others.iter().map(|plan| file::path(Path::new("cache"), plan).unwrap()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), others.len());
}

/// Every way of damaging a file ends in the tables that a new build gives, and in a file that is whole again.
#[test]
fn contract_05_a_corrupted_or_forged_file_is_rebuilt() {
    for plan in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TableCache::in_folder(folder.path());
        let good = cache.test(plan.clone()).unwrap();
        let path = file::path(folder.path(), &plan).unwrap();
        let bytes = fs::read(&path).unwrap();
        let mut damaged: Vec<(String, Vec<u8>)> = vec![
            ("empty".into(), Vec::new()),
            ("half".into(), bytes[..bytes.len() / 2].to_vec()),
            ("longer".into(), [&bytes[..], b" "].concat()),
            ("text".into(), b"what is this".to_vec()),
            ("zeros".into(), vec![0; 4096]),
        ];
        for at in (0..bytes.len()).step_by(bytes.len() / 23) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            damaged.push((format!("bit at {at}"), flipped));
        }
        for (how, bytes) in damaged {
            fs::write(&path, bytes).unwrap();
            assert!(!matches!(file::read(folder.path(), &plan), Ok(Some(_))), "{how}");
            assert_eq!(cache.test(plan.clone()).unwrap().tables(), good.tables(), "{how}");
            assert_eq!(file::read(folder.path(), &plan).unwrap().as_ref(), good.tables(), "{how}");
        }

        // Forged with a right hash: certifying at the first vote, or another plan's tables under this name.
        let mut early = good.tables().unwrap().clone();
        match &mut early {
            Tables::OneBound(tables) => tables[0].certify_at[0] = 1,
            Tables::TwoClass(tables) => tables[0].certify_at[0][0] = 1,
        }
        let mut hopeless = good.tables().unwrap().clone();
        match &mut hopeless {
            Tables::OneBound(tables) => tables[0].futile_at[0] = 0,
            Tables::TwoClass(tables) => tables[0].go_on_from = vec![vec![usize::MAX]],
        }
        for forged in [early, hopeless] {
            file::write(folder.path(), &plan, &forged).unwrap();
            assert_eq!(cache.test(plan.clone()).unwrap().tables(), good.tables());
            assert_eq!(file::read(folder.path(), &plan).unwrap().as_ref(), good.tables());
        }
        let other = Plan { alpha: 0.01, ..plan.clone() };
        cache.test(other.clone()).unwrap();
        fs::copy(file::path(folder.path(), &other).unwrap(), &path).unwrap();
        assert_eq!(cache.test(plan.clone()).unwrap().tables(), good.tables());
        assert_eq!(files(folder.path()).len(), 2, "nothing is left behind");
    }
}

#[test]
fn what_is_no_file_or_cannot_be_written_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(Method::Table1);
    let cache = TableCache::in_folder(folder.path());
    fs::create_dir_all(file::path(folder.path(), &plan).unwrap()).unwrap();
    let built = cache.test(plan.clone()).unwrap();
    assert_eq!(files(folder.path()).len(), 1, "no partial file is left behind");
    // A file where the folder should be.
    let occupied = folder.path().join("occupied");
    fs::write(&occupied, b"").unwrap();
    let nowhere = TableCache::in_folder(&occupied).test(plan.clone()).unwrap();
    assert_eq!(nowhere.tables(), built.tables());
    assert_eq!(TableCache::none().test(plan).unwrap().tables(), built.tables());
}

#[test]
fn plans_without_tables_and_plans_that_cannot_work_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TableCache::in_folder(folder.path().join("cache"));
    let base = plan(Method::Table1);
    cache.test(Plan { method: Method::Cohen { n0: 5, n: 20 }, ..base.clone() }).unwrap();
    let too_short = Plan { method: Method::Table1(Ladder::new(vec![0.25], 20)), ..base.clone() };
    assert!(matches!(cache.test(too_short), Err(StatsError::Infeasible { .. })));
    assert!(cache.test(Plan { sigma: f64::NAN, ..base }).is_err());
    assert!(!folder.path().join("cache").exists());
}

#[test]
fn many_writers_of_one_file_agree() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TableCache::in_folder(folder.path());
    let tables: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| cache.test(plan(Method::Table1)).unwrap())).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(tables.iter().all(|test| test.tables() == tables[0].tables()));
    assert_eq!(files(folder.path()).len(), 1, "nothing is left behind");
}

#[cfg(unix)]
#[test]
fn the_folder_follows_the_environment() {
    let with = |vars: &[(&str, &str)]| {
        let vars: Vec<_> = vars.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        default_folder(|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    };
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/home/u")]), path("/c/smoothgate/tables"));
    assert_eq!(
        with(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/home/u")]),
        path("/home/u/.cache/smoothgate/tables")
    );
    assert_eq!(with(&[("HOME", "not/absolute")]), None);
    assert_eq!(with(&[]), None);
}
