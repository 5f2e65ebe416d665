import { newId } from '../../src/shared/ids.ts';
import type { Instances, InstanceView, OnInstanceDeath } from '../../src/shared/instances.ts';

/** Service processes that know of each other without a database; a test says which one dies. */
export class Society {
  readonly #members = new Map<string, InstanceView>();
  readonly #listeners = new Set<OnInstanceDeath>();

  join(host = 'here'): Instances {
    const self = { id: newId(), host };
    this.#members.set(self.id, { ...self, pid: 1, startedAt: new Date(), isHere: true, isAlive: true });
    const find = async (id: string): Promise<InstanceView | null> => {
      const member = this.#members.get(id);
      return member ? { ...member, isHere: member.host === host } : null;
    };
    return {
      self,
      find,
      isSole: false,
      livesOn: async (name) => [...this.#members.values()].some((member) => member.host === name && member.isAlive),
      isAlive: async (id) => (await find(id))?.isAlive ?? false,
      onDeath: (listener) => {
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
      },
    };
  }

  /** Resolves when everybody who listens has dealt with it. */
  async die({ self }: Instances): Promise<void> {
    const member = this.#members.get(self.id);
    if (!member) throw new Error('nobody of that id');
    member.isAlive = false;
    for (const listener of [...this.#listeners]) await listener(member);
  }
}
