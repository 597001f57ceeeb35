use super::Recent;

#[test]
fn what_came_first_is_forgotten_first() {
    const MAX: usize = 3;
    let mut recent = Recent::default();
    for number in 0..10 {
        recent.insert(number, number, MAX);
        assert!(recent.entries.len() <= MAX && recent.order.len() == recent.entries.len());
    }
    assert!(!recent.contains(&6) && recent.contains(&7));
    recent.insert(7, 70, MAX);
    recent.insert(10, 10, MAX);
    assert_eq!((recent.remove(&7), recent.remove(&8)), (Some(70), None), "7 was put in again");
    assert_eq!(recent.order.len(), 2);
}
