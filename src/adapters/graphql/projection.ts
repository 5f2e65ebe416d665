import {
  createSourceEventStream,
  execute,
  getDirectiveValues,
  getOperationAST,
  getVariableValues,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  Kind,
  OperationTypeNode,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type FragmentDefinitionNode,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { PushStream } from '../../shared/push-stream.ts';
import type { GraphqlContext } from './context.ts';
import { isStream } from './plugins.ts';

/**
 * Events of a subscription whose answers need no execution, because every field of them is read off the event. The
 * rest of the subscription (who may open it, its arguments, its other events) is executed as any other.
 */
export type ProjectedField = {
  /** Of the root field and of its type. */
  field: string;
  type: string;
  accepts: (event: unknown) => boolean;
  /** What executing each field of an accepted event would answer; a field that is missing here is executed. */
  fields: Readonly<Record<string, (event: never) => unknown>>;
};

type Slot = { name: string; read: (event: never) => unknown };
type Projector = {
  root: string;
  slots: readonly Slot[];
  /** Of the last event: its readers ask one after another, and a table of all events would outlive them. */
  newest: { event: object; json: string } | null;
};

/** The answer to one event, in words that are made once for everybody who asked the same. */
export class ProjectedResult implements ExecutionResult {
  readonly #projector: Projector;
  readonly #event: object;

  constructor(projector: Projector, event: object) {
    this.#projector = projector;
    this.#event = event;
  }

  get data(): Record<string, unknown> {
    const fields: Record<string, unknown> = {};
    // The table's functions are for the events that it accepts.
    for (const { name, read } of this.#projector.slots) fields[name] = read(this.#event as never);
    return { [this.#projector.root]: fields };
  }

  get json(): string {
    const projector = this.#projector;
    const event = this.#event;
    if (projector.newest?.event !== event) projector.newest = { event, json: JSON.stringify({ data: this.data }) };
    return projector.newest.json;
  }
}

/** A result as it goes over the wire. */
export function toJson(result: ExecutionResult): string {
  return result instanceof ProjectedResult ? result.json : JSON.stringify(result);
}

class NotProjectable extends Error {}

class Compiler {
  readonly #args: ExecutionArgs;
  readonly #operation: OperationDefinitionNode;
  readonly #of: ProjectedField;
  readonly #fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  /** False when the variables had a say. */
  isFixed = true;

  constructor(args: ExecutionArgs, operation: OperationDefinitionNode, of: ProjectedField) {
    this.#args = args;
    this.#operation = operation;
    this.#of = of;
    this.#fragments = new Map(args.document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])));
  }

  compile(): Projector {
    const [root, ...more] = this.#operation.selectionSet.selections;
    if (root?.kind !== Kind.FIELD || more.length > 0 || root.directives?.length || root.name.value !== this.#of.field || !root.selectionSet) throw new NotProjectable();
    const slots = new Map<string, Slot>();
    this.#collect(root.selectionSet, slots);
    return { root: root.alias?.value ?? root.name.value, slots: [...slots.values()], newest: null };
  }

  #collect({ selections }: SelectionSetNode, slots: Map<string, Slot>): void {
    for (const node of selections) {
      if (node.directives?.length && !this.#isIncluded(node)) continue;
      if (node.kind === Kind.FIELD) {
        const read = node.name.value === '__typename' ? () => this.#of.type : this.#of.fields[node.name.value];
        if (!read) throw new NotProjectable();
        const name = node.alias?.value ?? node.name.value;
        if (!slots.has(name)) slots.set(name, { name, read });
        continue;
      }
      const fragment = node.kind === Kind.FRAGMENT_SPREAD ? this.#fragments.get(node.name.value) : node;
      if (!fragment || (fragment.typeCondition && fragment.typeCondition.name.value !== this.#of.type)) throw new NotProjectable();
      this.#collect(fragment.selectionSet, slots);
    }
  }

  #isIncluded(node: SelectionSetNode['selections'][number]): boolean {
    if (node.directives?.some(({ name }) => name.value !== 'skip' && name.value !== 'include')) throw new NotProjectable();
    this.isFixed = false;
    const { coerced } = getVariableValues(this.#args.schema, this.#operation.variableDefinitions ?? [], { ...this.#args.variableValues });
    if (!coerced) throw new NotProjectable();
    return getDirectiveValues(GraphQLSkipDirective, node, coerced)?.['if'] !== true && getDirectiveValues(GraphQLIncludeDirective, node, coerced)?.['if'] !== false;
  }
}

/** Executes what has to be, and reads the rest off the events. */
export function useProjection(of: ProjectedField): Plugin<GraphqlContext> {
  const known = new WeakMap<DocumentNode, Map<string, Projector | null>>();

  const projectorOf = (args: ExecutionArgs): Projector | null => {
    const operations = known.get(args.document) ?? new Map<string, Projector | null>();
    const found = operations.get(args.operationName ?? '');
    if (found !== undefined) return found;
    const operation = getOperationAST(args.document, args.operationName);
    if (operation?.operation !== OperationTypeNode.SUBSCRIPTION) return null;
    const compiler = new Compiler(args, operation, of);
    let projector: Projector | null = null;
    try {
      projector = compiler.compile();
    } catch (error) {
      if (!(error instanceof NotProjectable)) throw error;
    }
    // Documents are parsed once for all who send the same text.
    if (compiler.isFixed) known.set(args.document, operations.set(args.operationName ?? '', projector));
    return projector;
  };

  return {
    onSubscribe({ args, setSubscribeFn }) {
      const projector = projectorOf(args);
      if (projector) setSubscribeFn(async (given: ExecutionArgs) => await subscribe(given, projector, of));
    },
  };
}

async function subscribe(args: ExecutionArgs, projector: Projector, { accepts }: ProjectedField): Promise<AsyncIterable<ExecutionResult> | ExecutionResult> {
  const events = await createSourceEventStream(args);
  if (!isStream<unknown>(events)) return events;
  return PushStream.of(events).map((event) => (accepts(event) ? new ProjectedResult(projector, event as object) : execute({ ...args, rootValue: event })));
}
