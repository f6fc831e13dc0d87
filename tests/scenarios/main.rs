//! Stories about whole clusters: each is told on the in-memory sandbox, and again on a real API server.
//!
//! `cargo test --features sandbox --test scenarios` tells them on the sandbox; with `-- --ignored` on a real control
//! plane, which `make e2e` builds.

mod cores;
mod history;
mod kubelet;
mod ours;
mod real;
mod release;
mod sandbox;
mod stories;
mod world;

/// One test a story and rig.
macro_rules! on_both_worlds {
    ($($file:ident :: $story:ident),* $(,)?) => {
        mod on_the_sandbox {
            $(
                #[tokio::test(start_paused = true)]
                async fn $story() {
                    let mut world = crate::sandbox::world(stringify!($story)).await;
                    crate::stories::$file::$story(&mut world).await;
                    world.end().await;
                }
            )*
        }
        mod on_a_real_api_server {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs a control plane: make e2e"]
                async fn $story() {
                    let mut world = crate::real::world(stringify!($story)).await;
                    crate::stories::$file::$story(&mut world).await;
                    world.end().await;
                }
            )*
        }
    };
}

on_both_worlds!(
    joining::two_validators_end_with_each_other_and_then_nothing_is_written,
    joining::a_third_restarts_the_old_ones_once_each_and_is_not_restarted_itself,
    moving::a_moved_pod_changes_the_list_and_restarts_nobody,
    leaving::suspended_deleted_and_retyped_validators_leave_the_list,
    leaving::a_statefulset_that_is_made_again_starts_anew,
    leaving::a_pod_that_is_never_ready_is_not_listed,
    ports::a_custom_peer_port_is_listed_and_counts,
    outages::without_our_webhook_everyone_is_taken_in_once,
    outages::with_a_wrong_ca_everyone_is_taken_in_once,
    outages::killed_between_two_restarts_the_rest_goes_on_and_nobody_is_restarted_twice,
    outages::an_api_server_that_is_away_empties_no_list,
    writers::an_edited_and_a_deleted_list_are_restored,
    writers::whoever_scribbles_on_the_list_restarts_nobody,
    writers::an_operator_that_applies_for_ever_restarts_nobody,
    writers::an_operator_that_replaces_for_ever_restarts_nobody,
    installing::installed_into_a_running_network_each_is_taken_in_once_and_then_left_alone,
    installing::a_statefulset_that_opts_in_by_its_template_is_a_node,
    odd::odd_objects_harm_nobody_else,
    restarts::ten_that_join_in_a_minute_cost_each_at_most_one_restart,
    restarts::a_stale_validator_that_is_down_goes_first_and_its_old_pod_is_deleted,
    replicas::where_the_leader_is_killed_in_a_rollout_the_other_replica_goes_on,
    held::a_restart_that_does_not_get_done_stops_all_others_until_it_is_repaired,
    held::a_paused_namespace_restarts_nobody_until_it_is_resumed,
    held::a_paused_validator_waits_until_it_is_resumed_and_the_others_do_not,
    held::whose_pods_would_not_follow_waits_and_the_others_do_not,
    charts::three_releases_form_a_network_by_their_pods_addresses,
    charts::three_releases_form_a_network_by_their_pods_names,
    charts::four_releases_form_a_network_by_their_pods_addresses,
    charts::four_releases_form_a_network_by_their_pods_names,
    charts::seven_releases_form_a_network_by_their_pods_addresses,
    charts::seven_releases_form_a_network_by_their_pods_names,
    charts::releases_without_claims_form_a_network_and_then_keep_their_ledgers,
    charts::who_opts_out_with_a_new_template_has_nothing_of_ours,
    charts::releases_with_printed_values_form_a_network_without_a_webhook,
    cold::a_fresh_network_forms_by_itself,
    cold::a_network_that_lost_all_its_pods_at_once_finds_itself_again,
    cold::in_a_cold_start_the_list_keeps_all_and_each_is_restarted_once,
    quorum::a_network_that_tolerates_nobody_is_restarted_one_by_one_and_told_of_the_pause,
    quorum::a_network_that_tolerates_nobody_can_be_held_instead,
    quorum::nobody_is_restarted_past_what_the_quorum_sets_tolerate,
    policies::where_only_joins_count_nobody_is_restarted_for_who_left,
    policies::where_restarts_are_off_the_list_follows_all_the_same,
    policies::a_dry_run_writes_nothing_though_restarts_are_due,
);
