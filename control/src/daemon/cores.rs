//! Assignment of cores: as in testpmd, the first core of EAL's `-l` list is for the control thread, the others are for
//! workers.

/// Returns the cores of the workers, by number, from EAL's `-l 0,2-3`, `--lcores 0@0,1@4` or `-c f`; without them, all
/// cores of the process are used.
pub fn of_workers(eal: &[String]) -> Vec<usize> {
    let listed = eal.iter().enumerate().find_map(|(index, arg)| match arg.as_str() {
        "-l" | "--lcores" => eal.get(index + 1).map(|list| parse(list)),
        "-c" => eal.get(index + 1).map(|mask| parse_mask(mask)),
        _ => arg.strip_prefix("--lcores=").or_else(|| arg.strip_prefix("-l")).map(parse),
    });
    let cores = listed.filter(|cores| !cores.is_empty()).unwrap_or_else(|| {
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
    });
    // A single core is shared by the worker and the control thread, which sleeps most of the time.
    let workers = if cores.len() > 1 { cores[1..].to_vec() } else { cores };
    if workers.is_empty() { vec![0] } else { workers }
}

/// Parses a core list: `2-3` is two cores; `5@2` is EAL's lcore 5 on core 2.
fn parse(list: &str) -> Vec<usize> {
    list.split(',')
        .map(|part| part.split_once('@').map_or(part, |(_, core)| core))
        .flat_map(|part| match part.split_once('-') {
            Some((from, to)) => from.parse().unwrap_or(1)..to.parse::<usize>().map_or(0, |to| to + 1),
            None => part.parse().map_or(0..0, |core: usize| core..core + 1),
        })
        .collect()
}

fn parse_mask(mask: &str) -> Vec<usize> {
    let bits = u128::from_str_radix(mask.trim_start_matches("0x"), 16).unwrap_or(0);
    (0..128).filter(|core| bits >> core & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(args: &[&str]) -> Vec<usize> {
        of_workers(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_core_is_for_the_control_thread() {
        assert_eq!(workers(&["-l", "0,1"]), [1]);
        assert_eq!(workers(&["-l", "0-3"]), [1, 2, 3]);
        assert_eq!(workers(&["--lcores=4,6-7", "--no-pci"]), [6, 7]);
        assert_eq!(workers(&["-l0,2"]), [2]);
        assert_eq!(workers(&["--lcores=0@0,1@1,2@0"]), [1, 0]);
        assert_eq!(workers(&["-c", "0xd"]), [2, 3]);
    }

    #[test]
    fn a_single_core_runs_a_worker() {
        assert_eq!(workers(&["-l", "1"]), [1]);
    }
}
