import { Installation } from '../instances/installation.entity.ts';
import { ServiceInstance } from '../instances/service-instance.entity.ts';
import { IdempotencyRecord } from '../../shared/persistence/idempotency.entity.ts';
import { StateEvent } from '../../shared/persistence/state-event.entity.ts';
import { Alert, AlertDelivery, AlertRule, AlertRuleSeed } from '../../domains/system/alerts/alert.entity.ts';
import { ApiKey } from '../../domains/access/api-key.entity.ts';
import { TokenUsage } from '../../domains/access/token-usage.entity.ts';
import { AuditEntry } from '../../domains/access/audit/audit-entry.entity.ts';
import { ChatMessage, ChatSession } from '../../domains/chat/chat.entity.ts';
import { Deployment } from '../../domains/deployments/deployment.entity.ts';
import { DownloadFile, DownloadTask } from '../../domains/downloads/download-task.entity.ts';
import { FilePartDigests } from '../../domains/downloads/part-digest.entity.ts';
import { DownloadSpeedLimit } from '../../domains/downloads/speed-limit.entity.ts';
import { StorageJob } from '../../domains/downloads/storage-job.entity.ts';
import { InstalledModel } from '../../domains/downloads/installed-model.entity.ts';

/** Every table of the service; migrations are made from this list. */
export const entities = [Installation, ServiceInstance, StateEvent, IdempotencyRecord, ApiKey, TokenUsage, AuditEntry, DownloadTask, DownloadFile, InstalledModel, FilePartDigests, DownloadSpeedLimit, StorageJob, Deployment, ChatSession, ChatMessage, AlertRule, AlertRuleSeed, Alert, AlertDelivery];
