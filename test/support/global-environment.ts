import vm from 'node:vm';
import { TestEnvironment } from 'jest-environment-node';

/**
 * Jest's own environment for Node on an ordinary context. Jest makes its context of a proxy, through which every look-up
 * of a global (`Math`, `Promise`, `Array`) goes: a sixth of the suite's processor time.
 */
export default class OrdinaryContextEnvironment extends TestEnvironment {
  constructor(...given: ConstructorParameters<typeof TestEnvironment>) {
    const createContext = vm.createContext;
    vm.createContext = () => createContext(vm.constants.DONT_CONTEXTIFY);
    try {
      super(...given);
    } finally {
      vm.createContext = createContext;
    }
  }
}
