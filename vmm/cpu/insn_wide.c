// SPDX-License-Identifier: BSD-2-Clause
//
// CMPXCHG8B and CMPXCHG16B, and near jumps and calls through memory.
// Addresses are computed from the registers; page->sregs must be current.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/cpu/insn_flags.h"

static void get_pair(const struct vcpu_page *page, unsigned low, unsigned high, unsigned half,
                     uint8_t bytes[16])
{
    memcpy(bytes, &page->gpr[low], half);
    memcpy(bytes + half, &page->gpr[high], half);
}

static void set_pair(struct vcpu_page *page, unsigned half, const uint8_t bytes[16])
{
    uint64_t low = 0, high = 0;

    memcpy(&low, bytes, half);
    memcpy(&high, bytes + half, half);
    insn_set_reg(page, GPR_RAX, half, false, low);
    insn_set_reg(page, GPR_RDX, half, false, high);
}

// What it does not replace it writes as it was.
enum insn_run insn_run_pair(const struct insn *insn, const struct guest_ram *ram, struct bus *bus,
                            struct vcpu_page *page, struct guest_fault *fault)
{
    const struct vm_exit *exit = &page->exit;
    unsigned size = insn->size, half = size / 2;
    uint8_t old[16] = { 0 }, expected[16] = { 0 }, wanted[16] = { 0 };
    uint64_t gva = insn_address(insn, page);
    enum gmem_result result;
    bool equal;

    if (size == 16 && gva % 16 != 0)
        return insn_run_fault(fault, VECTOR_GP, true);
    if (!gmem_writable(ram, exit, gva, size, fault))
        return INSN_RUN_FAULT;
    result = gmem_read_bytes(ram, bus, exit, gva, size, old, fault);
    if (result != GMEM_OK)
        return insn_run_of(result);
    get_pair(page, GPR_RAX, GPR_RDX, half, expected);
    get_pair(page, GPR_RBX, GPR_RCX, half, wanted);
    equal = memcmp(old, expected, size) == 0;
    result = gmem_write_bytes(ram, bus, exit, gva, size, equal ? wanted : old, fault);
    if (result != GMEM_OK)
        return insn_run_of(result);
    if (!equal)
        set_pair(page, half, old);
    page->entry.rflags = (exit->rflags & ~FLAG_ZF) | (equal ? FLAG_ZF : 0);
    page->entry.flags |= VM_ENTRY_RFLAGS;
    return INSN_RUN_DONE;
}

static bool jump_allowed(const struct vcpu_page *page, uint64_t target)
{
    int64_t top = (int64_t)target >> (page->exit.cpu.cr4 & 1u << 12 ? 56 : 47);

    if (page->exit.cpu.code_size == 8)
        return top == 0 || top == -1;
    return target <= page->sregs.cs.limit;
}

enum insn_run insn_run_jump(const struct insn *insn, const struct guest_ram *ram, struct bus *bus,
                            struct vcpu_page *page, struct guest_fault *fault)
{
    const struct vm_exit *exit = &page->exit;
    unsigned size = insn->size, stack_size = insn_stack_size(page);
    uint64_t target = 0, rsp = exit->rsp, mask = mask_of(stack_size);
    enum gmem_result result;

    result = gmem_read(ram, bus, exit, insn_address(insn, page), size, &target, fault);
    if (result != GMEM_OK)
        return insn_run_of(result);
    if (!jump_allowed(page, target))
        return insn_run_fault(fault, VECTOR_GP, true);
    if (insn->op == INSN_CALL) {
        uint64_t top = (rsp - size) & mask;
        result = gmem_write(ram, bus, exit,
                            linear_address(exit, insn_segment_base(page, SEGMENT_SS), top), size,
                            (exit->rip + insn->length) & mask_of(size), fault);
        if (result != GMEM_OK)
            return insn_run_of(result);
        insn_set_reg(page, GPR_RSP, stack_size, false, top);
    }
    page->sregs.rip = target - insn->length;
    return INSN_RUN_DONE;
}
