// SPDX-License-Identifier: BSD-2-Clause
// VMs: guest-physical address spaces and what hangs on them. Under kernel_lock.
#include "kernel/core/syscall.h"

SYSCALL_LOCKED(vm_create)
{
    struct process *self = caller_process();
    enum status status;
    if (a0 & ~(uint64_t)(VM_CATCH_UP | VM_SMP))
        return ERR_RANGE;
    if (handle_find(self) < 0)
        return ERR_FULL;
    struct vm *vm = object_new(vm, self, &status);
    if (!vm)
        return status;
    vm->catch_up = a0 & VM_CATCH_UP;
    vm->smp = a0 & VM_SMP;
    status = space_init(&vm->space, vm->object.id, true, self);
    if (status == OK)
        return handle_give(&vm->object);
    object_drop(&vm->object);
    return status;
}

SYSCALL_ON(vm_msi, vm, RIGHT_USE)
{
    if (a2 > UINT32_MAX || a3 > 1)
        return ERR_RANGE;
    return arch_vm_msi(vm, a1, (uint32_t)a2, a3);
}
