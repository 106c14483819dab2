//! Which of an entry's values a subscription takes over. A value is inherited if the entry has or ever had this value. Any other
//! value is the subscription's own and stays, unless the operator wants to replace it.

use std::collections::BTreeSet;

use super::{Field, Options, Overrides};
use crate::domain::{
    invoice::Modifier,
    plan::Plan,
    subscription::{Change, Subscription},
};

/// Picks the values to take, and notes the fields that were kept.
pub(super) struct Pick<'a> {
    options: &'a Options,
    pub kept: BTreeSet<Field>,
}

impl<'a> Pick<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, kept: BTreeSet::new() }
    }

    /// The entry's newest value, if this value is to take the place of the subscription's.
    fn take<T: PartialEq>(&mut self, field: Field, own: &T, mut versions: impl Iterator<Item = T>) -> Option<T> {
        let newest = versions.next().filter(|newest| self.options.names(field) && newest != own)?;
        if self.options.overrides == Overrides::Replace || versions.any(|earlier| earlier == *own) {
            return Some(newest);
        }
        self.kept.insert(field);
        None
    }

    /// What a plan's edits change in terms that came from the plan.
    pub fn of_plan(&mut self, plans: &[Plan], own: &Subscription) -> Change {
        let mut change = Change {
            description: self.take(Field::Name, &own.description, plans.iter().map(|plan| plan.name.clone())),
            amount: self.take(Field::Amount, &own.amount, plans.iter().map(|plan| plan.amount)),
            duration: self.take(Field::Duration, &own.duration, plans.iter().map(|plan| plan.duration)),
            catch_up: self.take(Field::CatchUp, &own.catch_up, plans.iter().map(|plan| plan.catch_up)),
            while_past_due: self.take(Field::WhilePastDue, &own.while_past_due, plans.iter().map(|plan| plan.while_past_due)),
            add_ons: self.list(Field::AddOns, &own.add_ons, plans, |plan| &plan.add_ons),
            discounts: self.list(Field::Discounts, &own.discounts, plans, |plan| &plan.discounts),
            ..Change::default()
        };
        self.recurrence(plans, own, &mut change);
        // A calendar means nothing without its rule.
        let calendars = plans.iter().map(|plan| (plan.business_day, plan.holiday_calendar.clone()));
        let field = self.either(Field::BusinessDay, Field::HolidayCalendar);
        if let Some((business_day, calendar)) = self.take(field, &(own.business_day, own.holiday_calendar.clone()), calendars) {
            (change.business_day, change.holiday_calendar) = (Some(business_day), Some(calendar));
        }
        change
    }

    /// The one of two fields that go together by which the operator asked for both.
    fn either(&self, one: Field, other: Field) -> Field {
        if self.options.names(one) { one } else { other }
    }

    /// Takes frequency, interval and days together: every third month is not every third week, and the days of one frequency mean
    /// nothing to another.
    fn recurrence(&mut self, plans: &[Plan], own: &Subscription, change: &mut Change) {
        let Some(newest) = plans.first() else { return };
        let every = |plan: &Plan| (plan.billing_frequency, plan.billing_cycle_interval);
        let field = self.either(Field::BillingFrequency, Field::BillingCycleInterval);
        let taken = self.take(field, &(own.billing_frequency, own.billing_cycle_interval), plans.iter().map(every));
        if let Some((frequency, interval)) = taken {
            (change.billing_frequency, change.billing_cycle_interval) = (Some(frequency), Some(interval));
            if frequency != own.billing_frequency {
                change.billing_days = Some(newest.billing_days.clone());
            }
        }
        let frequency = change.billing_frequency.unwrap_or(own.billing_frequency);
        if frequency == newest.billing_frequency && change.billing_days.is_none() {
            let days = plans.iter().filter(|plan| plan.billing_frequency == frequency).map(|plan| plan.billing_days.clone());
            change.billing_days = self.take(Field::BillingDays, &own.billing_days, days);
        }
        if change.billing_frequency.is_some() || change.billing_days.is_some() {
            change.keep_anchor = self.options.keep_anchor.then_some(true);
        }
    }

    /// A plan's list. What the plan added or removed follows where the subscription inherited the list itself, and each item's
    /// terms are taken on their own.
    fn list(&mut self, field: Field, own: &[Modifier], plans: &[Plan], of: fn(&Plan) -> &Vec<Modifier>) -> Option<Vec<Modifier>> {
        let newest = of(plans.first()?);
        if !self.options.names(field) || same_list(own, newest) {
            return None;
        }
        if self.options.overrides == Overrides::Replace {
            return Some(newest.clone());
        }
        let lists: Vec<&Vec<Modifier>> = plans.iter().map(of).collect();
        let inherited = lists.iter().any(|list| ids(list) == ids(own));
        let whole = Options { fields: None, ..self.options.clone() };
        let mut pick = Pick::new(&whole);
        let mut list = Vec::new();
        for item in own {
            let versions: Vec<&Modifier> = lists.iter().filter_map(|list| find(list, &item.id)).collect();
            if find(newest, &item.id).is_some() {
                list.push(pick.modifier(item, &versions));
            } else if !inherited || !is_among(item, &versions) {
                list.push(item.clone());
            }
        }
        if inherited {
            list.extend(newest.iter().filter(|item| find(own, &item.id).is_none()).cloned());
            // Items stand in the plan's order, and those that are not the plan's stand at the end.
            let place = |item: &Modifier| newest.iter().position(|known| known.id == item.id).unwrap_or(usize::MAX);
            list.sort_by_key(place);
        }
        if !same_list(&list, newest) {
            self.kept.insert(field);
        }
        (!same_list(&list, own)).then_some(list)
    }

    /// A list in which an add-on or discount may stand, with the edits of this entry. None means that the list does not change.
    pub fn entry(&mut self, versions: &[Modifier], own: &[Modifier]) -> Option<Vec<Modifier>> {
        let id = &versions.first()?.id;
        let versions: Vec<&Modifier> = versions.iter().collect();
        let edited = |item: &Modifier| if item.id == *id { self.modifier(item, &versions) } else { item.clone() };
        let list: Vec<Modifier> = own.iter().map(edited).collect();
        (list != own).then_some(list)
    }

    fn modifier(&mut self, own: &Modifier, versions: &[&Modifier]) -> Modifier {
        let mut item = own.clone();
        macro_rules! take {
            ($($field:ident = $name:ident),+) => {$(
                let values = versions.iter().map(|version| version.$name.clone());
                if let Some(value) = self.take(Field::$field, &own.$name, values) { item.$name = value; }
            )+};
        }
        take!(Name = name, Description = description, Amount = adjustment, Duration = duration);
        item
    }
}

fn find<'m>(list: &'m [Modifier], id: &str) -> Option<&'m Modifier> {
    list.iter().find(|item| item.id == id)
}

fn ids(list: &[Modifier]) -> Vec<&str> {
    let mut ids: Vec<&str> = list.iter().map(|item| item.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

/// Whether two copies have the same terms, whenever they began to apply.
fn same(one: &Modifier, other: &Modifier) -> bool {
    Modifier { applied_from: other.applied_from, ..one.clone() } == *other
}

fn same_list(one: &[Modifier], other: &[Modifier]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
}

/// Whether some version has each of the item's values.
fn is_among(item: &Modifier, versions: &[&Modifier]) -> bool {
    versions.iter().any(|version| version.name == item.name)
        && versions.iter().any(|version| version.description == item.description)
        && versions.iter().any(|version| version.adjustment == item.adjustment)
        && versions.iter().any(|version| version.duration == item.duration)
}
