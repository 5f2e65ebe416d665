/** A state machine as data: for each state the states that may follow it. */
export type TransitionTable<State extends string> = Readonly<Record<State, readonly State[]>>;

export type Machine<State extends string> = {
  readonly name: string;
  readonly states: readonly State[];
  canGo(from: State, to: State): boolean;
  /** Every state from which `to` may be entered: the `where state in (...)` of a compare-and-set. */
  sourcesOf(to: State): readonly State[];
  /** Nothing follows. */
  isFinal(state: State): boolean;
};

export function defineMachine<State extends string>(name: string, table: TransitionTable<State>): Machine<State> {
  // Object.keys loses the literal type that the table's own type guarantees.
  const states = Object.keys(table) as State[];
  return {
    name,
    states,
    canGo: (from, to) => table[from].includes(to),
    sourcesOf: (to) => states.filter((from) => table[from].includes(to)),
    isFinal: (state) => table[state].length === 0,
  };
}
