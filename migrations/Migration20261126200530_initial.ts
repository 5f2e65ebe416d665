import { Migration } from '@mikro-orm/migrations';

export class Migration20261126200530_initial extends Migration {

  override name = 'Migration20261126200530_initial';

  override up(): void | Promise<void> {
    this.addSql(`create table "alerts" ("id" uuid not null, "open_key" varchar(255) null, "status" text not null, "rule_id" uuid not null, "rule_name" varchar(255) not null, "metric" text not null, "comparison" text null, "threshold" double precision null, "severity" text not null, "target_kind" text not null, "target_id" text not null, "target_name" text not null, "host" varchar(255) null, "value" double precision null, "message" text not null, "instance_id" uuid not null, "raised_at" timestamptz not null, "acknowledged_at" timestamptz null, "acknowledged_by" varchar(255) null, "resolved_at" timestamptz null, "resolved_reason" text null, primary key ("id"));`);
    this.addSql(`alter table "alerts" add constraint "alerts_open_key_unique" unique ("open_key");`);
    this.addSql(`create index "alerts_status_id_index" on "alerts" ("status", "id");`);
    this.addSql(`create index "alerts_resolved_at_index" on "alerts" ("resolved_at");`);
    this.addSql(`alter table "alerts" add constraint "alerts_status_check" check ("status" in ('firing', 'acknowledged', 'resolved'));`);
    this.addSql(`alter table "alerts" add constraint "alerts_metric_check" check ("metric" in ('disk_free_bytes', 'disk_free_percent', 'memory_used_percent', 'cpu_used_percent', 'gpu_memory_used_percent', 'gpu_temperature_celsius', 'deployment_memory_bytes', 'deployment_failed', 'deployment_unhealthy', 'deployment_restarting', 'download_failed', 'download_stalled_seconds'));`);
    this.addSql(`alter table "alerts" add constraint "alerts_comparison_check" check ("comparison" in ('above', 'below'));`);
    this.addSql(`alter table "alerts" add constraint "alerts_severity_check" check ("severity" in ('info', 'warning', 'critical'));`);
    this.addSql(`alter table "alerts" add constraint "alerts_target_kind_check" check ("target_kind" in ('machine', 'volume', 'gpu', 'deployment', 'download'));`);
    this.addSql(`alter table "alerts" add constraint "alerts_resolved_reason_check" check ("resolved_reason" in ('recovered', 'target_gone', 'rule_changed'));`);

    this.addSql(`create table "alert_deliveries" ("id" uuid not null, "alert_id" uuid not null, "channel" varchar(255) not null, "event" text not null, "status" text not null, "attempts" int not null, "error" text null, "created_at" timestamptz not null, "due_at" timestamptz not null, "ended_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "alert_deliveries_status_id_index" on "alert_deliveries" ("status", "id");`);
    this.addSql(`alter table "alert_deliveries" add constraint "alert_deliveries_alert_id_channel_event_unique" unique ("alert_id", "channel", "event");`);
    this.addSql(`alter table "alert_deliveries" add constraint "alert_deliveries_event_check" check ("event" in ('raised', 'resolved'));`);
    this.addSql(`alter table "alert_deliveries" add constraint "alert_deliveries_status_check" check ("status" in ('pending', 'delivered', 'failed'));`);

    this.addSql(`create table "alert_rules" ("id" uuid not null, "name" varchar(255) not null, "metric" text not null, "comparison" text null, "threshold" double precision null, "for_seconds" int not null, "target" text null, "severity" text not null, "enabled" boolean not null, "channels" jsonb null, "created_by" varchar(255) not null, "created_at" timestamptz not null, "updated_at" timestamptz not null, primary key ("id"));`);
    this.addSql(`alter table "alert_rules" add constraint "alert_rules_metric_check" check ("metric" in ('disk_free_bytes', 'disk_free_percent', 'memory_used_percent', 'cpu_used_percent', 'gpu_memory_used_percent', 'gpu_temperature_celsius', 'deployment_memory_bytes', 'deployment_failed', 'deployment_unhealthy', 'deployment_restarting', 'download_failed', 'download_stalled_seconds'));`);
    this.addSql(`alter table "alert_rules" add constraint "alert_rules_comparison_check" check ("comparison" in ('above', 'below'));`);
    this.addSql(`alter table "alert_rules" add constraint "alert_rules_severity_check" check ("severity" in ('info', 'warning', 'critical'));`);

    this.addSql(`create table "alert_rule_seeds" ("id" varchar(255) not null, "made_at" timestamptz not null, primary key ("id"));`);

    this.addSql(`create table "api_keys" ("id" uuid not null, "name" varchar(255) not null, "owner" varchar(255) not null, "role" text not null, "prefix" varchar(255) not null, "hash" varchar(255) not null, "retired_hashes" jsonb not null, "scopes" jsonb not null, "requests_per_minute" int null, "tokens_per_day" int null, "allowed_deployments" jsonb null, "expires_at" timestamptz null, "revoked_at" timestamptz null, "last_used_at" timestamptz null, "created_at" timestamptz not null, primary key ("id"));`);
    this.addSql(`alter table "api_keys" add constraint "api_keys_prefix_unique" unique ("prefix");`);
    this.addSql(`alter table "api_keys" add constraint "api_keys_role_check" check ("role" in ('ADMIN', 'OPERATOR', 'USER', 'VIEWER'));`);

    this.addSql(`create table "audit_entries" ("id" uuid not null, "at" timestamptz not null, "actor_key_id" uuid null, "actor_owner" varchar(255) null, "actor_name" varchar(255) null, "actor_role" varchar(255) null, "action" varchar(255) not null, "target_kind" varchar(255) null, "target_id" varchar(255) null, "outcome" text not null, "error_code" varchar(255) null, "count" int not null, "request_id" varchar(255) not null, "peer_address" varchar(255) null, primary key ("id"));`);
    this.addSql(`create index "audit_entries_actor_key_id_id_index" on "audit_entries" ("actor_key_id", "id");`);
    this.addSql(`create index "audit_entries_actor_owner_id_index" on "audit_entries" ("actor_owner", "id");`);
    this.addSql(`create index "audit_entries_action_id_index" on "audit_entries" ("action", "id");`);
    this.addSql(`create index "audit_entries_target_id_id_index" on "audit_entries" ("target_id", "id");`);
    this.addSql(`alter table "audit_entries" add constraint "audit_entries_outcome_check" check ("outcome" in ('succeeded', 'denied', 'failed'));`);

    this.addSql(`create table "chat_messages" ("id" uuid not null, "session_id" uuid not null, "owner" varchar(255) not null, "parent_id" uuid null, "role" text not null, "content" text not null, "piece_lengths" text not null, "deployment_id" uuid null, "model_id" varchar(255) null, "status" text not null, "parameters" jsonb not null, "usage" jsonb null, "finish_reason" text null, "error" jsonb null, "instance_id" uuid null, "created_at" timestamptz not null, "finished_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "chat_messages_session_id_id_index" on "chat_messages" ("session_id", "id");`);
    this.addSql(`create index "chat_messages_parent_id_index" on "chat_messages" ("parent_id");`);
    this.addSql(`create index "chat_messages_status_index" on "chat_messages" ("status");`);
    this.addSql(`alter table "chat_messages" add constraint "chat_messages_role_check" check ("role" in ('system', 'user', 'assistant'));`);
    this.addSql(`alter table "chat_messages" add constraint "chat_messages_status_check" check ("status" in ('streaming', 'completed', 'stopped', 'interrupted', 'failed'));`);
    this.addSql(`alter table "chat_messages" add constraint "chat_messages_finish_reason_check" check ("finish_reason" in ('stop', 'length', 'stopped', 'error'));`);

    this.addSql(`create table "chat_sessions" ("id" uuid not null, "title" text not null, "owner" varchar(255) not null, "system_prompt" text null, "parameters" jsonb not null, "deployment_ids" jsonb not null, "created_at" timestamptz not null, "updated_at" timestamptz not null, primary key ("id"));`);
    this.addSql(`create index "chat_sessions_owner_id_index" on "chat_sessions" ("owner", "id");`);

    this.addSql(`create table "deployments" ("id" uuid not null, "name" varchar(255) not null, "model_id" varchar(255) null, "variant" varchar(255) null, "installed_model_id" uuid null, "runtime" varchar(255) not null, "status" text not null, "desired_status" text not null, "config" jsonb not null, "api_key" text null, "endpoint" text null, "handle" jsonb null, "keepsake" jsonb null, "instance_id" uuid null, "host" varchar(255) null, "command" jsonb null, "access" jsonb null, "runs" int not null, "restarts" int not null, "recent_failures" jsonb not null, "last_exit" jsonb null, "error" jsonb null, "override" jsonb not null, "created_by" varchar(255) not null, "created_at" timestamptz not null, "started_at" timestamptz null, primary key ("id"));`);
    this.addSql(`alter table "deployments" add constraint "deployments_name_unique" unique ("name");`);
    this.addSql(`create index "deployments_status_id_index" on "deployments" ("status", "id");`);
    this.addSql(`create index "deployments_model_id_index" on "deployments" ("model_id");`);
    this.addSql(`alter table "deployments" add constraint "deployments_status_check" check ("status" in ('pending', 'starting', 'running', 'unhealthy', 'restarting', 'stopping', 'stopped', 'failed'));`);
    this.addSql(`alter table "deployments" add constraint "deployments_desired_status_check" check ("desired_status" in ('running', 'stopped'));`);

    this.addSql(`create table "download_files" ("id" uuid not null, "task_id" uuid not null, "position" int not null, "path" text not null, "size_bytes" bigint not null, "downloaded_bytes" bigint not null, "status" text not null, "sha256" varchar(255) null, "git_sha1" varchar(255) null, "source_status" varchar(255) null, "scan" jsonb null, primary key ("id"));`);
    this.addSql(`alter table "download_files" add constraint "download_files_task_id_path_unique" unique ("task_id", "path");`);
    this.addSql(`alter table "download_files" add constraint "download_files_status_check" check ("status" in ('pending', 'running', 'verifying', 'completed', 'failed'));`);

    this.addSql(`create table "download_speed_limits" ("id" varchar(255) not null, "max_bytes_per_second" bigint null, "configured_bytes_per_second" bigint null, "changed_at" timestamptz not null, primary key ("id"));`);

    this.addSql(`create table "download_tasks" ("id" uuid not null, "model_id" varchar(255) not null, "requested_revision" varchar(255) null, "revision" varchar(255) null, "variant" varchar(255) null, "include" jsonb null, "exclude" jsonb null, "target" text not null, "status" text not null, "priority" int not null, "max_bytes_per_second" bigint null, "override" jsonb not null, "request_key" varchar(255) not null, "files_key" varchar(255) null, "format" varchar(255) null, "variant_key" varchar(255) null, "quantization" varchar(255) null, "total_bytes" bigint null, "downloaded_bytes" bigint not null, "attempt" int not null, "error" jsonb null, "retry_at" timestamptz null, "installed_model_id" uuid null, "created_by" varchar(255) not null, "created_at" timestamptz not null, "started_at" timestamptz null, "finished_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "download_tasks_status_priority_id_index" on "download_tasks" ("status", "priority", "id");`);
    this.addSql(`create index "download_tasks_model_id_index" on "download_tasks" ("model_id");`);
    this.addSql(`create unique index "download_tasks_unfinished_request" on "download_tasks" ("request_key") where status in ('queued', 'running', 'paused', 'retrying', 'verifying', 'scanning');`);
    this.addSql(`create unique index "download_tasks_unfinished_files" on "download_tasks" ("files_key") where status in ('queued', 'running', 'paused', 'retrying', 'verifying', 'scanning');`);
    this.addSql(`alter table "download_tasks" add constraint "download_tasks_target_check" check ("target" in ('local', 'ollama'));`);
    this.addSql(`alter table "download_tasks" add constraint "download_tasks_status_check" check ("status" in ('queued', 'running', 'paused', 'retrying', 'verifying', 'scanning', 'completed', 'failed', 'cancelled'));`);

    this.addSql(`create table "file_part_digests" ("sha256" varchar(255) not null, "part_bytes" int not null, "digests" text not null, primary key ("sha256"));`);

    this.addSql(`create table "idempotency_records" ("id" uuid not null, "owner" varchar(255) not null, "operation" varchar(255) not null, "key" varchar(255) not null, "request_hash" varchar(255) not null, "result_id" uuid not null, "created_at" timestamptz not null, primary key ("id"));`);
    this.addSql(`create index "idempotency_records_created_at_index" on "idempotency_records" ("created_at");`);
    this.addSql(`alter table "idempotency_records" add constraint "idempotency_records_owner_operation_key_unique" unique ("owner", "operation", "key");`);

    this.addSql(`create table "installation" ("id" serial primary key, "uid" uuid not null);`);

    this.addSql(`create table "installed_models" ("id" uuid not null, "model_id" varchar(255) not null, "revision" varchar(255) not null, "variant" varchar(255) null, "variant_key" varchar(255) not null, "format" varchar(255) not null, "quantization" varchar(255) null, "size_bytes" bigint not null, "folder" text not null, "files" jsonb not null, "verification" text not null, "installed_at" timestamptz not null, "last_used_at" timestamptz null, "verified_at" timestamptz null, primary key ("id"));`);
    this.addSql(`alter table "installed_models" add constraint "installed_models_model_id_revision_variant_key_unique" unique ("model_id", "revision", "variant_key");`);
    this.addSql(`alter table "installed_models" add constraint "installed_models_verification_check" check ("verification" in ('verified', 'damaged', 'missing'));`);

    this.addSql(`create table "service_instances" ("id" uuid not null, "host" varchar(255) not null, "machine" text not null, "pid" int not null, "process_start" text not null, "started_at" timestamptz not null, "heartbeat_at" timestamptz not null, primary key ("id"));`);

    this.addSql(`create table "state_events" ("id" bigserial primary key, "kind" varchar(255) not null, "subject_id" uuid not null, "from_state" varchar(255) null, "to_state" varchar(255) not null, "reason" text null, "at" timestamptz not null);`);
    this.addSql(`create index "state_events_subject_id_id_index" on "state_events" ("subject_id", "id");`);

    this.addSql(`create table "storage_jobs" ("id" uuid not null, "kind" text not null, "status" text not null, "read_bytes" bigint not null, "total_bytes" bigint null, "installed_model_ids" jsonb not null, "task_id" uuid null, "error" jsonb null, "instance_id" varchar(255) not null, "started_at" timestamptz not null, "finished_at" timestamptz null, primary key ("id"));`);
    this.addSql(`create index "storage_jobs_status_index" on "storage_jobs" ("status");`);
    this.addSql(`alter table "storage_jobs" add constraint "storage_jobs_kind_check" check ("kind" in ('verify', 'repair', 'import', 'adopt'));`);
    this.addSql(`alter table "storage_jobs" add constraint "storage_jobs_status_check" check ("status" in ('running', 'completed', 'failed', 'cancelled'));`);

    this.addSql(`create table "token_usage" ("key_id" uuid not null, "day" varchar(255) not null, "tokens" bigint not null, primary key ("key_id", "day"));`);
  }

}
