import { AppError } from '../../shared/errors.ts';

export function sessionNotFound(): AppError {
  return new AppError('CHAT_SESSION_NOT_FOUND', 'There is no such chat session.');
}

export function messageNotFound(): AppError {
  return new AppError('CHAT_MESSAGE_NOT_FOUND', 'There is no such chat message.');
}

export function deploymentNotFound(id: string): AppError {
  return new AppError('DEPLOYMENT_NOT_FOUND', 'There is no such deployment.', { details: { deployment_id: id } });
}
