// All kernels for one instruction set: compiled once for each, with MAMBA_ISA_<name> defined and
// MAMBA_TABLE naming the table it exports.
#include "conv.h"
#include "norm.h"
#include "selective_scan.h"
#include "selective_scan_backward.h"
#include "ssd.h"
#include "ssd_backward.h"
#include "step.h"

extern const Kernels MAMBA_TABLE;
const Kernels MAMBA_TABLE = {
    {scan_pack_plan, scan_pack},
    {scan_forward_plan, scan_forward},
    {scan_backward_plan, scan_backward},
    {ssd_forward_plan, ssd_forward},
    {ssd_backward_plan, ssd_backward},
    {conv_forward_plan, conv_forward},
    {conv_backward_plan, conv_backward},
    {norm_forward_plan, norm_forward},
    {norm_forward_plan, norm_backward},
    {step_plan, step},
    {conv_step_plan, conv_step},
};
