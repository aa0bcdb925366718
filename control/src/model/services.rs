//! The list of services. Copies of a list share unchanged services, so that a copy with one change is cheap even with
//! many services.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Service, ServiceKey};

/// Services in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services(Vec<Arc<Service>>);

impl Services {
    /// Returns the number of services.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no service.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over all services.
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Returns the shared pointers, which can be kept, and compared by address.
    pub fn shared(&self) -> &[Arc<Service>] {
        &self.0
    }

    /// Appends a service.
    pub fn push(&mut self, service: Service) {
        self.0.push(Arc::new(service));
    }

    /// Removes the service at this index.
    pub fn remove(&mut self, index: usize) {
        self.0.remove(index);
    }

    /// Removes all services.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Replaces each service that equals one of `other` with that shared copy, so that later comparisons are by
    /// address.
    pub fn share_with(&mut self, other: &Services) {
        let known: HashMap<ServiceKey, _> = other.0.iter().map(|service| (service.key, service)).collect();
        for mine in &mut self.0 {
            if let Some(&theirs) = known.get(&mine.key).filter(|theirs| **theirs == &*mine) {
                *mine = Arc::clone(theirs);
            }
        }
    }

    /// Returns the parts in which two lists differ: without the shared services at the beginning and at the end.
    pub fn difference<'a>(old: &'a Services, new: &'a Services) -> (&'a [Arc<Service>], &'a [Arc<Service>]) {
        let same = |(a, b): &(&Arc<Service>, &Arc<Service>)| Arc::ptr_eq(a, b);
        let front = old.0.iter().zip(&new.0).take_while(same).count();
        let (old, new) = (&old.0[front..], &new.0[front..]);
        let back = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        (&old[..old.len() - back], &new[..new.len() - back])
    }
}

/// Iterator over services.
pub type Iter<'a> = std::iter::Map<std::slice::Iter<'a, Arc<Service>>, fn(&Arc<Service>) -> &Service>;

impl<'a> IntoIterator for &'a Services {
    type Item = &'a Service;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Services {
    type Item = Arc<Service>;
    type IntoIter = std::vec::IntoIter<Arc<Service>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<Arc<Service>> for Services {
    fn from_iter<T: IntoIterator<Item = Arc<Service>>>(services: T) -> Services {
        Services(services.into_iter().collect())
    }
}

impl FromIterator<Service> for Services {
    fn from_iter<T: IntoIterator<Item = Service>>(services: T) -> Services {
        Services(services.into_iter().map(Arc::new).collect())
    }
}

impl From<Vec<Service>> for Services {
    fn from(services: Vec<Service>) -> Services {
        services.into_iter().collect()
    }
}

impl Index<usize> for Services {
    type Output = Service;

    fn index(&self, index: usize) -> &Service {
        &self.0[index]
    }
}

impl IndexMut<usize> for Services {
    /// Copies the service first if another list shares it.
    fn index_mut(&mut self, index: usize) -> &mut Service {
        Arc::make_mut(&mut self.0[index])
    }
}

impl Serialize for Services {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Services {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Services, D::Error> {
        Vec::<Service>::deserialize(from).map(Services::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    fn fwmarks(fwmarks: &[u32]) -> Services {
        let service = |&fwmark: &u32| Service::new(ServiceKey::Fwmark { fwmark, family: Family::Ipv4 });
        fwmarks.iter().map(service).collect()
    }

    #[test]
    fn a_copy_with_one_change_differs_in_one_place() {
        let old = fwmarks(&[1, 2, 3]);
        assert_eq!(Services::difference(&old, &old.clone()), (&[][..], &[][..]));
        let mut new = old.clone();
        new[1].ops = true;
        assert!(!old[1].ops, "the shared service is unchanged");
        assert_eq!(Services::difference(&old, &new), (&old.shared()[1..2], &new.shared()[1..2]));
        new.remove(1);
        assert_eq!(Services::difference(&old, &new), (&old.shared()[1..2], &[][..]));
        new.push(Service::new(ServiceKey::Fwmark { fwmark: 9, family: Family::Ipv6 }));
        assert_eq!(Services::difference(&old, &new).1.len(), 2);
    }

    #[test]
    fn equal_services_become_shared() {
        let (old, mut new) = (fwmarks(&[1, 2]), fwmarks(&[2, 1, 3]));
        assert_ne!(Services::difference(&old, &new).0.len(), 0);
        new.share_with(&old);
        assert!(Arc::ptr_eq(&old.shared()[0], &new.shared()[1]));
        assert_eq!(new, fwmarks(&[2, 1, 3]));
    }
}
