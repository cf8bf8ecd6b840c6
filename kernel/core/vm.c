// SPDX-License-Identifier: BSD-2-Clause
// VMs: guest-physical address spaces and what hangs on them. Under kernel_lock.
#include "kernel/core/syscall.h"

#define GPA_END (1ull << 46)

SYSCALL(vm_create)
{
    struct process *self = caller_process();
    enum status status;
    if (a0)
        return result(ERR_RANGE);
    spin_lock(&kernel_lock);
    int slot = handle_reserve(self);
    if (slot < 0)
        return unlock_result(slot);
    struct vm *vm = object_to(object_alloc(OBJ_VM, self, &status), vm);
    if (!vm)
        goto no_object;
    status = ERR_MEMORY;
    if (!space_init(&vm->space, vm->object.id, true, self))
        goto no_space;
    if (!arch_vm_init(vm))
        goto no_arch;
    handle_fill(self, (uint32_t)slot, &vm->object, RIGHT_ALL);
    return unlock_result(slot);
no_arch:
    arch_space_free(&vm->space);
no_space:
    object_retire(&vm->object);
    object_free(&vm->object);
no_object:
    handle_clear(self, (uint32_t)slot);
    return unlock_result(status);
}

static enum status decode_map(struct vm **vm, struct map_args *m, const uint64_t a[6])
{
    enum status status;
    *vm = HANDLE(caller_process(), a[0], OBJ_VM, vm, RIGHT_USE, &status);
    if (!*vm)
        return status;
    status = map_decode(m, a[1], a[2], a[3], a[5]);
    if (status != OK)
        return status;
    if (m->memory->flags & MEM_MODULE)
        return ERR_RIGHTS; // a guest never sees a module itself
    if (a[4] >= GPA_END || !is_aligned(a[4], PAGE_SIZE) || m->bytes > GPA_END - a[4])
        return ERR_RANGE;
    return OK;
}

SYSCALL(vm_map)
{
    const uint64_t a[6] = { a0, a1, a2, a3, a4, a5 };
    struct vm *vm;
    struct map_args m;
    spin_lock(&kernel_lock);
    enum status status = decode_map(&vm, &m, a);
    if (status == OK)
        status = space_map(&vm->space, m.memory, m.offset, m.bytes, a4, m.prot);
    return unlock_result(status);
}

SYSCALL(vm_unmap)
{
    enum status status;
    spin_lock(&kernel_lock);
    struct vm *vm = HANDLE(caller_process(), a0, OBJ_VM, vm, RIGHT_USE, &status);
    if (!vm)
        return unlock_result(status);
    return space_unmap_call(&vm->space, a1, a2);
}

SYSCALL(vm_msi)
{
    enum status status;
    struct vm *vm = HANDLE(caller_process(), a0, OBJ_VM, vm, RIGHT_USE, &status);
    if (!vm)
        return result(status);
    if (a2 > UINT32_MAX || a3 > 1)
        return result(ERR_RANGE);
    return result(arch_vm_msi(vm, a1, (uint32_t)a2, a3));
}

SYSCALL(vm_cpuid)
{
    struct process *self = caller_process();
    enum status status;
    uint32_t mask[4];
    struct vm *vm = HANDLE(self, a0, OBJ_VM, vm, RIGHT_USE, &status);
    if (!vm)
        return result(status);
    if (a1 > UINT32_MAX || a2 > UINT32_MAX || !copy_from_user(self, mask, a3, sizeof(mask)))
        return result(ERR_RANGE);
    spin_lock(&kernel_lock);
    return unlock_result(arch_vm_cpuid(vm, (uint32_t)a1, (uint32_t)a2, mask));
}
