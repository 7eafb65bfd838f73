import { Agent } from 'node:http'

/** Returns an agent whose connections come from an address of the loopback network. */
export const agentFrom = (localAddress: string): Agent => new Agent({ localAddress })

/** Returns an agent whose connections go to an address, whatever the name. */
export const agentTo = (address: string): Agent =>
  new Agent({
    lookup: (_name, { all }, found) => {
      if (all === true) found(null, [{ address, family: 4 }])
      else found(null, address, 4)
    },
  })
